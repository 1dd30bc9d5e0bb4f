//! All proxies side by side.

use std::sync::Arc;
use std::time::Duration;

use portcullis::system::clock::{Clock, SystemClock};

use crate::cases::Case;
use crate::documents::{Chapter, counted, foreword};
use crate::gateway::{PLAIN, host};
use crate::issuer::Error;
use crate::load::{Request, Requests};
use crate::measurement::Window;
use crate::peers::{Peer, Peers};
use crate::plot::{Bar, plot};
use crate::requests::{Manners, Refreshes, Session, login, proxied_login};
use crate::rounds::Rounds;
use crate::server::Server;
use crate::settings::number;
use crate::tables::{self, Column, Goal, cpu};
use crate::world::World;

const CONNECTIONS: usize = 64;

/// The cases by their place in the list.
const HAPROXY: usize = 0;
const HAPROXY_JWT: usize = 2;
const ENVOY: usize = 3;
const BARE: usize = 4;
const ONE_SESSION: usize = 6;
const MANY_SESSIONS: usize = 7;
const PROXIED_POST: usize = 8;
const LOGIN: usize = 9;
const REFRESH: usize = 10;

/// Measures, and says what came out.
pub(crate) fn run(peers: &Peers, pinned: bool, smoke: bool) -> Result<Chapter, Error> {
    let (rounds, sessions) = if smoke { (1, 200) } else { (number("BENCH_ROUNDS", 5)?.max(1), 2000) };
    let rounds = usize::try_from(rounds)?;
    let window = window(smoke)?;
    let world = World::new(peers, pinned, sessions, Duration::ZERO)?;
    let measured = Rounds::measure(&world, &cases(&world)?, rounds, window)?;
    Ok(Chapter {
        markdown: [
            foreword(peers, pinned, rounds, window),
            "![CPU time per request](performance.svg)".to_owned(),
            tables::figures(&measured),
            tables::ratios("CPU time against", &measured, &forwarding(), &against_proxies()),
            tables::ratios(
                "CPU time against",
                &measured,
                &[LOGIN, REFRESH],
                &[Column::new("proxied POST", PROXIED_POST)],
            ),
            tables::goals(&goals(&measured)),
        ]
        .join("\n\n"),
        plot: Some(plot("CPU time of the proxy, µs per request", &bars(&measured))),
    })
}

/// Returns the length and the load of a measurement.
pub(crate) fn window(smoke: bool) -> Result<Window, Error> {
    let (warm_up, length) = if smoke {
        (Duration::from_millis(100), Duration::from_millis(300))
    } else {
        (Duration::from_secs(1), Duration::from_secs(number("BENCH_SECONDS", 4)?.max(1)))
    };
    Ok(Window { warm_up, length, connections: CONNECTIONS })
}

fn cases(world: &World) -> Result<Vec<Case>, Error> {
    let host = host(0);
    let sessions: Vec<Session> =
        world.tokens.iter().enumerate().map(|(number, token)| Session { number, token }).collect();
    let first = *sessions.first().ok_or("no session")?;
    let expired = world.tokens_until(SystemClock.now().saturating_sub(60), sessions.len())?;
    let get = |manners| Arc::new(vec![first.get(&host, "/api/cart", manners)]);
    let all = sessions.iter().map(|session| session.get(&host, "/api/cart", Manners::IdentifiesAndStrips));
    let all: Vec<Request> = all.collect();
    let public = first.get(&host, "/public/cart", Manners::Strips);
    let posts: Vec<Request> = (0..sessions.len()).map(proxied_login).collect();
    let logins: Vec<Request> = (0..sessions.len()).map(login).collect();
    let portcullis = Server::Portcullis(PLAIN);
    let case = |title: &str, server, requests: Arc<dyn Requests>| Case {
        title: title.to_owned(),
        server,
        requests,
        refused: None,
        connections: CONNECTIONS,
    };
    let gate = |case: Case| Case { refused: Some(first.forged()), ..case };
    // The constants above are places in this list.
    Ok(vec![
        case("HAProxy, plain", Server::Peer(Peer::HaProxy), get(Manners::Forwards)),
        case("nginx, plain", Server::Peer(Peer::Nginx), get(Manners::Forwards)),
        gate(case("HAProxy, jwt_verify", Server::Peer(Peer::HaProxyJwt), get(Manners::Forwards))),
        gate(case("Envoy, jwt_authn with cache", Server::Peer(Peer::Envoy), get(Manners::Identifies))),
        case("Pingora, plain", Server::Bare, get(Manners::Forwards)),
        case("Portcullis, public route", portcullis, Arc::new(vec![public])),
        gate(case("Portcullis, one session", portcullis, get(Manners::IdentifiesAndStrips))),
        gate(case(&format!("Portcullis, {}", counted(sessions.len(), "session")), portcullis, Arc::new(all))),
        case("Portcullis, a POST to the app", portcullis, Arc::new(posts)),
        case("Portcullis, login", portcullis, Arc::new(logins)),
        case("Portcullis, refresh", portcullis, Arc::new(Refreshes::new(expired))),
    ])
}

fn forwarding() -> Vec<usize> {
    (HAPROXY..=MANY_SESSIONS).collect()
}

fn against_proxies() -> [Column; 4] {
    [
        Column::new("Pingora", BARE),
        Column::new("HAProxy", HAPROXY),
        Column::new("HAProxy jwt_verify", HAPROXY_JWT),
        Column::new("Envoy jwt_authn", ENVOY),
    ]
}

fn goals(measured: &Rounds) -> [Goal; 5] {
    let goal =
        |what, limit, case, baseline| Goal { what, limit, measured: measured.ratio(case, baseline, cpu) };
    [
        goal("CPU of one session against Pingora", 1.15, ONE_SESSION, BARE),
        goal("CPU of one session against Envoy jwt_authn", 0.55, ONE_SESSION, ENVOY),
        goal("CPU of one session against HAProxy jwt_verify", 0.55, ONE_SESSION, HAPROXY_JWT),
        goal("CPU of all sessions against one session", 1.1, MANY_SESSIONS, ONE_SESSION),
        goal("CPU of a login against a proxied POST", 2.0, LOGIN, PROXIED_POST),
    ]
}

fn bars(measured: &Rounds) -> Vec<Bar> {
    let titles = measured.titles().take(MANY_SESSIONS + 1);
    titles
        .map(|(case, title)| Bar {
            title: title.to_owned(),
            value: measured.of(case, cpu),
            is_ours: case > BARE && case <= MANY_SESSIONS,
            checks_tokens: [HAPROXY_JWT, ENVOY, ONE_SESSION, MANY_SESSIONS].contains(&case),
        })
        .collect()
}
