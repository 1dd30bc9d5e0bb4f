//! Storms of refreshes: many requests of one session at its expiry, and many sessions that expire in the same second.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use portcullis::system::clock::{Clock, SystemClock};

use crate::documents::counted;
use crate::gateway::{Gateway, PLAIN, host};
use crate::issuer::Error;
use crate::load::{Connection, Request, runtime, wait_until_served};
use crate::peers::Peers;
use crate::process::Proxy;
use crate::requests::{Manners, Session};
use crate::server::Server;
use crate::tables;
use crate::world::World;

/// The time that the provider takes for a refresh.
const PROVIDER_DELAY: Duration = Duration::from_millis(10);

/// Parallel requests of one session.
const TABS: usize = 200;

/// The outcome of a storm.
struct Outcome {
    requests: usize,
    provider_calls: usize,
    /// From the first request to the last answer.
    all_answered: Duration,
    /// Seconds of the proxy.
    cpu: f64,
}

/// Runs both, and returns their table. An answer that is wrong, or a call too many at the provider, is an error.
pub(crate) fn run(peers: &Peers, pinned: bool, smoke: bool) -> Result<String, Error> {
    let (repeats, sessions, head_start) = if smoke { (2, 200, 4) } else { (20, 2000, 12) };
    let world = World::new(peers, pinned, sessions.max(repeats), PROVIDER_DELAY)?;
    let mut text = format!(
        "Storms of refreshes, at a provider that takes {} ms for each. Every answer was right.\n\n{}",
        PROVIDER_DELAY.as_millis(),
        tables::head(&[
            "",
            "requests",
            "provider calls",
            "all answered after ms",
            "CPU ms",
            "CPU µs/request"
        ])
    );
    let tabs = one_session(&world, repeats)?;
    add(&mut text, &format!("one session, {TABS} requests at once, the longest of {repeats} times"), &tabs);
    let many = many_sessions(&world, sessions, head_start)?;
    add(&mut text, &format!("{} that expire in the same second", counted(sessions, "session")), &many);
    Ok(text)
}

fn add(text: &mut String, title: &str, outcome: &Outcome) {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = outcome.cpu * 1e6 / outcome.requests as f64;
    let _always_fits = write!(
        text,
        "\n| {title} | {} | {} | {} | {:.0} | {each:.1} |",
        outcome.requests,
        outcome.provider_calls,
        outcome.all_answered.as_millis(),
        outcome.cpu * 1e3,
    );
}

fn start(world: &World) -> Result<Proxy, Error> {
    let proxy = world.start(&Server::Portcullis(Gateway { refreshes_on_time: true, ..PLAIN }))?;
    let token = world.tokens.first().ok_or("no token")?;
    let ready = Session { number: 0, token }.get(&host(0), "/api/cart", Manners::IdentifiesAndStrips);
    wait_until_served(proxy.address, &vec![ready])?;
    Ok(proxy)
}

/// Several times, each with another session: one alone takes less CPU time than can be measured.
fn one_session(world: &World, repeats: usize) -> Result<Outcome, Error> {
    let expired = world.tokens_until(SystemClock.now().saturating_sub(60), repeats)?;
    let proxy = start(world)?;
    let calls_before = world.calls.refreshes.load(Ordering::Relaxed);
    let mut outcome =
        Outcome { requests: TABS * repeats, provider_calls: 0, all_answered: Duration::ZERO, cpu: 0.0 };
    runtime()?.block_on(async {
        let mut connections = open(proxy.address, TABS).await?;
        let cpu_before = proxy.cpu_seconds()?;
        for (number, token) in expired.iter().enumerate() {
            let requests = vec![Session { number, token }.refreshing(0); TABS];
            let took = all_at_once(&mut connections, &requests).await?;
            outcome.all_answered = outcome.all_answered.max(took);
        }
        outcome.cpu = proxy.cpu_seconds()? - cpu_before;
        Ok::<(), Error>(())
    })?;
    outcome.provider_calls = world.calls.refreshes.load(Ordering::Relaxed) - calls_before;
    expect_calls(&outcome, repeats)?;
    Ok(outcome)
}

/// Each session is known before: it has asked once when its JWT was still valid.
fn many_sessions(world: &World, count: usize, head_start: u64) -> Result<Outcome, Error> {
    let clock = SystemClock;
    let proxy = start(world)?;
    // Signing takes its time.
    let expiry = clock.now() + head_start;
    let tokens = world.tokens_until(expiry, count)?;
    let sessions = || tokens.iter().enumerate().map(|(number, token)| Session { number, token });
    let storm: Vec<Request> = sessions().map(|session| session.refreshing(0)).collect();
    let calls_before = world.calls.refreshes.load(Ordering::Relaxed);
    let (all_answered, cpu) = runtime()?.block_on(async {
        let mut connections = open(proxy.address, count).await?;
        // The same cookies as later. Where this machine is so slow that they have expired by now, these are the
        // refreshes, and the storm is answered with their outcome: the count of calls stays the same.
        let calm = storm.iter().cloned().map(|request| {
            let answer = crate::load::Answer { in_head: "", ..request.answer };
            Request { answer, ..request }
        });
        all_at_once(&mut connections, &calm.collect::<Vec<_>>()).await?;
        while clock.now() <= expiry {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let cpu_before = proxy.cpu_seconds()?;
        let took = all_at_once(&mut connections, &storm).await?;
        Ok::<_, Error>((took, proxy.cpu_seconds()? - cpu_before))
    })?;
    let provider_calls = world.calls.refreshes.load(Ordering::Relaxed) - calls_before;
    let outcome = Outcome { requests: count, provider_calls, all_answered, cpu };
    expect_calls(&outcome, count)?;
    Ok(outcome)
}

fn expect_calls(outcome: &Outcome, expected: usize) -> Result<(), Error> {
    if outcome.provider_calls == expected {
        return Ok(());
    }
    Err(format!("{} calls at the provider instead of {expected}", outcome.provider_calls).into())
}

async fn open(proxy: SocketAddr, count: usize) -> Result<Vec<Connection>, Error> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(Connection::open(proxy).await?);
    }
    Ok(connections)
}

/// One request on each connection, and the time until the last is answered.
async fn all_at_once(connections: &mut [Connection], requests: &[Request]) -> Result<Duration, Error> {
    let began = Instant::now();
    try_join_all(
        connections.iter_mut().zip(requests).map(|(connection, request)| connection.exchange(request)),
    )
    .await?;
    Ok(began.elapsed())
}
