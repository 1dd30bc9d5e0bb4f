//! An app's addresses: the list of them, which are healthy, and which is next.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use pingora_core::upstreams::peer::HttpPeer;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::config;
use crate::connection::exchange_control::ExchangeControl;

use super::app_address::{AppAddress, Host, Upstream};
use super::health::Check;
use super::http2;
use super::name_lookups::{Name, Names};
use super::peer_template::template;
use super::protocol_choice::{Needs, Way};

/// The interval at which idle connections are checked.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The addresses of one app.
pub(crate) struct Upstreams {
    app: String,
    configured: Vec<Upstream>,
    members: ArcSwap<Members>,
    rebuilding: Mutex<()>,
    turn: AtomicUsize,
    check: Arc<Check>,
    resolve_interval: Duration,
}

/// All addresses at one time.
#[derive(Default)]
struct Members {
    all: Vec<Arc<AppAddress>>,
    /// The versions of the answers to the name lookups that gave these addresses, in the order of `configured`.
    versions: Vec<u64>,
}

impl std::fmt::Debug for Upstreams {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Upstreams").field("app", &self.app).finish_non_exhaustive()
    }
}

impl Upstreams {
    /// Makes the upstreams of an app. They are not resolved yet: see [`Upstreams::run`].
    pub(crate) fn new(app: &config::App, names: &Names) -> Self {
        let configured = app.upstreams.iter().map(|upstream| Upstream {
            template: template(upstream, app),
            port: upstream.port,
            host: upstream.host.parse().map_or_else(|_| Host::Name(names.get(&upstream.host)), Host::Literal),
        });
        Self {
            app: app.name.clone(),
            configured: configured.collect(),
            members: ArcSwap::default(),
            rebuilding: Mutex::default(),
            turn: AtomicUsize::new(0),
            check: Arc::new(Check::new(app)),
            resolve_interval: app.resolve_interval,
        }
    }

    fn names(&self) -> impl Iterator<Item = &Arc<Name>> {
        self.configured.iter().filter_map(Upstream::name)
    }

    /// Resolves the names once, so that the first request finds an address. Returns false if no address is known.
    pub(crate) async fn resolve(&self) -> bool {
        self.look_up(false).await;
        let is_known = !self.members().all.is_empty();
        if !is_known {
            warn!(app = self.app, "no upstream address yet");
        }
        is_known
    }

    /// Looks up every name whose answer is not fresh. With `anew`, looks up every name once more, as soon as it may be.
    async fn look_up(&self, anew: bool) {
        let mut looking = JoinSet::new();
        for name in self.names() {
            let name = Arc::clone(name);
            looking.spawn(async move { if anew { name.look_up_anew().await } else { name.look_up().await } });
        }
        while looking.join_next().await.is_some() {}
    }

    /// Keeps names resolved, addresses checked and idle connections in order until shutdown, or until this is dropped.
    pub(crate) async fn run(&self, mut shutdown: channel::Receiver<bool>) {
        let _kept = Kept(self);
        let mut resolving = JoinSet::new();
        for name in self.names() {
            resolving.spawn(Arc::clone(name).keep_known(self.resolve_interval));
        }
        tokio::select! {
            () = self.keep_checked(), if self.has_choice() => {}
            () = self.keep_swept() => {}
            // This also ends when the sender, which could announce a shutdown, no longer exists.
            _ = shutdown.wait_for(|stopping| *stopping) => {}
        }
    }

    /// Closes idle connections that are over. Also forgets addresses that a name has lost, with their connections, even
    /// if no request asks for an address.
    async fn keep_swept(&self) {
        let mut due = tokio::time::interval(SWEEP_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            for member in &self.members().all {
                member.ways.sweep();
            }
        }
    }

    async fn keep_checked(&self) {
        let mut due = tokio::time::interval(self.check.interval());
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checking = JoinSet::new();
        loop {
            due.tick().await;
            while checking.try_join_next().is_some() {}
            for member in &self.members().all {
                if member.may_be_checked() {
                    let (member, check, app) =
                        (Arc::clone(member), Arc::clone(&self.check), self.app.clone());
                    checking.spawn(async move { member.check(&check, &app).await });
                }
            }
        }
    }

    /// Returns a peer to connect to: a healthy one that has not been tried, or else any that has not. If a name's
    /// answer has turned out to be too old (`look_up`), looks up that name first. If no address is left, looks up every
    /// name once more.
    pub(crate) async fn peer(
        &self,
        tried: &[SocketAddr],
        needs: Needs,
        client: Option<&Arc<ExchangeControl>>,
        look_up: Option<Arc<Name>>,
    ) -> Option<(Box<HttpPeer>, Way)> {
        if let Some(name) = look_up {
            name.look_up().await;
        }
        if let Some(peer) = self.select(tried, needs, client) {
            return Some(peer);
        }
        // It takes at most a second until a name may be looked up once more. By then the app may have another address.
        self.look_up(true).await;
        self.select(tried, needs, client)
    }

    fn select(
        &self,
        tried: &[SocketAddr],
        needs: Needs,
        client: Option<&Arc<ExchangeControl>>,
    ) -> Option<(Box<HttpPeer>, Way)> {
        let members = self.members();
        self.next(&members.all, tried).map(|member| member.ways.peer(needs, client))
    }

    fn next<'a>(&self, all: &'a [Arc<AppAddress>], tried: &[SocketAddr]) -> Option<&'a Arc<AppAddress>> {
        let untried = |member: &&Arc<AppAddress>| !tried.contains(&member.address());
        if let [only] = all {
            return Some(only).filter(untried);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(all.len())?;
        let in_turn = || all.iter().cycle().skip(turn).take(all.len()).filter(untried);
        in_turn().find(|member| member.is_healthy()).or_else(|| in_turn().next())
    }

    /// Returns all addresses now.
    fn members(&self) -> Guard<Arc<Members>> {
        let members = self.members.load();
        if self.is_current(&members) { members } else { self.rebuild() }
    }

    fn is_current(&self, members: &Members) -> bool {
        // The first list has no versions, even if no upstream has a name. So their number is compared too.
        members.versions.len() == self.configured.len()
            && self.configured.iter().zip(&members.versions).all(|(upstream, version)| {
                upstream.name().is_none_or(|name| name.answer().version == *version)
            })
    }

    #[cold]
    fn rebuild(&self) -> Guard<Arc<Members>> {
        let _turn = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.members.load();
        let mut after = Members::default();
        for (index, upstream) in self.configured.iter().enumerate() {
            let known = |number| before.all.iter().find(|member| member.is(index, number));
            match &upstream.host {
                Host::Literal(ip) => {
                    let known = known(None).cloned();
                    after.all.push(known.unwrap_or_else(|| Arc::new(upstream.member(index, *ip, None))));
                    after.versions.push(0);
                }
                Host::Name(name) => {
                    let answer = name.answer();
                    for address in &answer.addresses {
                        let known = known(Some(address.number)).cloned();
                        let member = || upstream.member(index, address.ip, Some((name, address)));
                        after.all.push(known.unwrap_or_else(|| Arc::new(member())));
                    }
                    after.versions.push(answer.version);
                }
            }
        }
        self.members.store(Arc::new(after));
        self.members.load()
    }

    /// Returns each address that is known, and true if it is healthy.
    pub(crate) fn health(&self) -> Vec<(String, bool)> {
        let members = self.members();
        members.all.iter().map(|member| (member.address().to_string(), member.is_healthy())).collect()
    }

    /// Returns true if one of the upstreams may be spoken to in HTTP/2.
    pub(crate) fn offers_http2(&self) -> bool {
        self.configured.iter().any(|upstream| http2::is_offered(&upstream.template))
    }

    /// Returns true if there may be another address to try.
    pub(crate) fn has_choice(&self) -> bool {
        !matches!(self.configured.as_slice(), [Upstream { host: Host::Literal(_), .. }])
    }
}

/// Keeps the addresses and connections of an app until dropped. Requests may hold them for longer.
struct Kept<'a>(&'a Upstreams);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.members.store(Arc::default());
    }
}
