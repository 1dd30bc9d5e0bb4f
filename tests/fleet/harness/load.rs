//! Browsers that use a fleet as people do: pages that send several requests at once, each to a replica that a balancer
//! chooses at random, and tabs that still have old cookies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::fleet::Fleet;
use super::outcomes::{Outcome, Outcomes};
use super::replica::HOST;
use crate::support::client::{receive, request_bytes};
use crate::support::set_cookie::SetCookie;
use crate::support::wire::Wire;
use crate::support::{Answer, Browser, Request, patiently};

/// The cookie with the JWT.
pub(crate) const ACCESS: &str = "__Host-access_token";
/// The cookie with the refresh token.
pub(crate) const REFRESH: &str = "__Host-refresh_token";

type Jar = BTreeMap<String, String>;

/// The time without trouble after which a load counts as calm: all JWTs have been replaced meanwhile.
const CALM: Duration = Duration::from_secs(5);

/// Sessions in use.
pub(crate) struct Load {
    balancer: Arc<Mutex<Vec<SocketAddr>>>,
    outcomes: Arc<Mutex<Outcomes>>,
    stop: Arc<AtomicBool>,
    sessions: JoinSet<()>,
}

impl Load {
    /// Signs so many users in, and lets them work.
    pub(crate) async fn start(fleet: &Fleet, sessions: usize) -> Self {
        let mut load = Self {
            balancer: Arc::new(Mutex::new(fleet.addresses())),
            outcomes: Arc::default(),
            stop: Arc::default(),
            sessions: JoinSet::new(),
        };
        for number in 0..sessions {
            let browser = fleet.logged_in(number % fleet.replicas.len(), &format!("user{number}")).await;
            let session = Session {
                number,
                jar: browser.jar.clone(),
                balancer: Arc::clone(&load.balancer),
                outcomes: Arc::clone(&load.outcomes),
            };
            load.sessions
                .spawn(session.work(Arc::clone(&load.stop), fastrand::Rng::with_seed(number as u64)));
        }
        load
    }

    /// The replicas that the balancer knows.
    pub(crate) fn balance_over(&self, addresses: Vec<SocketAddr>) {
        *self.balancer.lock().unwrap() = addresses;
    }

    /// Returns the outcomes so far.
    pub(crate) fn outcomes(&self) -> Outcomes {
        self.outcomes.lock().unwrap().clone()
    }

    /// Waits until there have been so many more refreshes.
    pub(crate) async fn refreshes(&self, fleet: &Fleet, more: usize) {
        let wanted = fleet.calls() + more;
        patiently("refreshes", async {
            while fleet.calls() < wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Waits until nothing but 200 has come for some time, and says how long after `since` the last trouble was.
    pub(crate) async fn calms_down(&self, since: Instant) -> Duration {
        patiently("nothing but 200", async {
            loop {
                let last = self.outcomes().last_trouble().map_or(since, |last| last.max(since));
                if last.elapsed() > CALM {
                    return last.duration_since(since);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await
    }

    /// Stops it; all outcomes.
    pub(crate) async fn stop(mut self) -> Outcomes {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(session) = patiently("the load's end", self.sessions.join_next()).await {
            session.expect("a session that was recorded to its end");
        }
        let outcomes = self.outcomes();
        println!("{:?}, {} lost", outcomes.statuses(), outcomes.lost());
        outcomes
    }
}

struct Session {
    number: usize,
    jar: Jar,
    balancer: Arc<Mutex<Vec<SocketAddr>>>,
    outcomes: Arc<Mutex<Outcomes>>,
}

impl Session {
    async fn work(mut self, stop: Arc<AtomicBool>, mut random: fastrand::Rng) {
        let mut old_tabs = JoinSet::new();
        while !stop.load(Ordering::SeqCst) {
            let before = self.jar.clone();
            let mut burst = JoinSet::new();
            for _ in 0..random.usize(2..=5) {
                burst.spawn(self.request(self.jar.clone(), &mut random));
            }
            while let Some(answer) = burst.join_next().await {
                // A killed replica may leave half an answer, which fails its task.
                if let Ok(Some(answer)) = answer {
                    keep(&mut self.jar, &answer);
                }
            }
            if self.jar.is_empty() {
                return;
            }
            if self.jar != before && random.u8(0..10) < 3 {
                let pause = Duration::from_millis(random.u64(0..3000));
                let request = self.request(before, &mut random);
                old_tabs.spawn(async move {
                    tokio::time::sleep(pause).await;
                    request.await;
                });
            }
            tokio::time::sleep(Duration::from_millis(random.u64(500..1500))).await;
        }
        while old_tabs.join_next().await.is_some() {}
    }

    /// One request by one of the replicas, and its record.
    fn request(
        &self,
        jar: Jar,
        random: &mut fastrand::Rng,
    ) -> impl Future<Output = Option<Answer>> + Send + use<> {
        let (balancer, outcomes) = (Arc::clone(&self.balancer), Arc::clone(&self.outcomes));
        let (session, choice) = (self.number, random.usize(..));
        async move {
            let address = {
                let addresses = balancer.lock().unwrap();
                addresses[choice % addresses.len()]
            };
            let answer = tokio::spawn(exchange(address, jar)).await.ok().flatten();
            let lost = answer.as_ref().is_some_and(ends_the_session);
            let status = answer.as_ref().map(Answer::status);
            let outcome = Outcome { came: Instant::now(), status, lost, session };
            outcomes.lock().unwrap().0.push(outcome);
            answer
        }
    }
}

async fn exchange(address: SocketAddr, jar: Jar) -> Option<Answer> {
    let mut browser = Browser::new(address, HOST);
    browser.jar = jar;
    let mut wire = Wire::new(TcpStream::connect(address).await.ok()?);
    wire.send(request_bytes(&browser, &Request::get("/api/cart"))).await.ok()?;
    patiently("an answer", receive(&mut wire, "GET", usize::MAX)).await
}

/// Returns whether a browser has no session any more after this answer.
fn ends_the_session(answer: &Answer) -> bool {
    answer.status() == 401 || answer.set_cookies().iter().any(SetCookie::clears)
}

fn keep(jar: &mut Jar, answer: &Answer) {
    for cookie in answer.set_cookies() {
        if cookie.clears() {
            jar.remove(&cookie.name);
        } else {
            jar.insert(cookie.name, cookie.value);
        }
    }
}
