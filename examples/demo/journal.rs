//! The notes of the demo's provider, apps and thief, as things happen: the source of the side panel's sequence
//! diagrams.
//!
//! The gateway takes no part in this, except that it names the JWT of a request to its app (`jti`). Every call at the
//! provider comes from the gateway and every request at an app came through it, so those arrows are known without
//! asking it.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::broadcast;

/// The number of exchanges that a page which connects late can still be shown.
const KEPT: usize = 200;

/// One thing that happened, with its time in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Exchange {
    pub(crate) id: u64,
    /// The app (and, at the provider, the client) it belongs to; `None`: all of them.
    pub(crate) app: Option<String>,
    pub(crate) started: f64,
    pub(crate) ended: f64,
    /// The gateway sealed the refresh token's cookie then.
    pub(crate) sealed: bool,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// An event, by who saw it.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum What {
    /// A call that the gateway made at the identity provider.
    Provider(ProviderCall),
    /// A request that the gateway forwarded to the app.
    App(AppRequest),
    /// A request that the demo made with stolen cookies.
    Thief(Theft),
    /// Something that somebody did outside of any request. The page has the words.
    Note { event: Event },
}

/// An event outside of any request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// The provider ended a login, as an administrator would.
    LoginEnded,
    /// The gateway's configuration was loaded again, with `session.seal_keys`.
    Sealed,
    /// The same without.
    Unsealed,
}

/// One call, as the provider saw it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ProviderCall {
    /// `POST /oauth2/token`.
    pub(crate) request: String,
    /// `password`, `refresh_token`, `revocation` or `metadata`.
    pub(crate) grant: String,
    /// A user name or a token's fingerprint that came along. Never a token.
    pub(crate) detail: String,
    pub(crate) status: u16,
    /// The decision in a few words.
    pub(crate) outcome: String,
    /// The subject, where the provider knows it.
    pub(crate) sub: Option<String>,
    /// The login that it was about, where the provider knows it.
    pub(crate) family: Option<String>,
    /// The fingerprint of the refresh token that came along.
    pub(crate) presented: Option<String>,
    /// The number of the replica that called, if there are several.
    pub(crate) replica: Option<String>,
    /// The tokens that it handed out.
    pub(crate) issued: Option<Issued>,
    /// The call ended a token family, because a used refresh token came again.
    pub(crate) reuse: bool,
}

/// A pair of tokens, by their fingerprints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Issued {
    /// By which the pair is found again in what the gateway tells of a request.
    pub(crate) jti: String,
    pub(crate) jwt: String,
    pub(crate) refresh_token: String,
    /// Of the JWT, in seconds.
    pub(crate) lifetime: u64,
    /// Of the JWT, in seconds since the Unix epoch.
    pub(crate) expires_at: u64,
}

/// One request, as an app saw it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct AppRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    /// The user by the identity headers, if the gateway sent them.
    pub(crate) user: Option<String>,
    pub(crate) roles: Vec<String>,
    /// Which JWT the gateway went by, if it says so: the one that the browser holds once it has the answer.
    pub(crate) jti: Option<String>,
    /// A session cookie reached the app: it must not.
    pub(crate) session_cookie: bool,
    /// The mark that the page put on its own request, by which it finds it again in the diagram.
    pub(crate) request_id: Option<String>,
    /// The number of the replica that the balancer chose, if there are several.
    pub(crate) replica: Option<String>,
    /// The browser asked for a document, as opposed to a script's `fetch`.
    pub(crate) navigation: bool,
}

/// An attack that the demo carried out: what was seen, of which the page makes sentences.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Theft {
    pub(crate) loot: Loot,
    /// The user whose tokens they were.
    pub(crate) family: String,
    /// The thief had it from before, as opposed to stealing it now.
    pub(crate) again: bool,
    /// `GET /api/shopping-cart`.
    pub(crate) request: String,
    /// The fingerprint of the stolen token.
    pub(crate) token: String,
    pub(crate) status: u16,
    /// The gateway's reason, where it refused.
    pub(crate) code: Option<String>,
    /// The tokens that came back as cookies.
    pub(crate) gained: Option<Issued>,
    /// The gateway asked the provider about that refresh token.
    pub(crate) asked: bool,
    /// The event that had ended the login at the provider by then.
    pub(crate) login_ended: Option<End>,
    /// The time that the stolen JWT had left, in seconds.
    pub(crate) remaining: u64,
    /// Of the gateway, in seconds.
    pub(crate) replay_window: u64,
    pub(crate) request_id: String,
}

/// A stolen token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Loot {
    /// The refresh token, to be sent along with a junk JWT.
    RefreshToken,
    /// The JWT alone.
    Jwt,
}

/// The event that ended a login at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// The gateway revoked its refresh token.
    Revoked,
    /// An administrator did, here by a button.
    Expired,
    /// A used refresh token came again.
    Reused,
}

/// The last exchanges, and everybody who wants to hear of new ones.
#[derive(Debug)]
pub(crate) struct Journal {
    recent: Mutex<VecDeque<Exchange>>,
    live: broadcast::Sender<Exchange>,
    last_id: AtomicU64,
    sealed: AtomicBool,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            recent: Mutex::default(),
            live: broadcast::channel(KEPT).0,
            last_id: AtomicU64::new(0),
            sealed: AtomicBool::new(false),
        }
    }

    /// Says how the gateway sets its cookies from now on.
    pub(crate) fn set_sealed(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Relaxed);
    }

    /// Returns whether the provider was asked about this refresh token since then.
    pub(crate) fn asked_about(&self, refresh_token: &str, since: f64) -> bool {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().take_while(|exchange| exchange.ended >= since).any(|exchange| {
            matches!(&exchange.what, What::Provider(call) if call.presented.as_deref() == Some(refresh_token))
        })
    }

    /// Writes down something that began at `started` and has just ended.
    pub(crate) fn record(&self, app: Option<&str>, started: f64, what: What) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let exchange = Exchange {
            id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            app: app.map(str::to_owned),
            started,
            ended: now_in_ms(),
            sealed: self.sealed.load(Ordering::Relaxed),
            what,
        };
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(exchange.clone());
        // An error only says that no page is open.
        let _ = self.live.send(exchange);
    }

    /// Returns the events for `app` after `since` and after the exchange `last_seen`, and then those to come.
    pub(crate) fn follow(
        &self,
        since: f64,
        last_seen: u64,
    ) -> (Vec<Exchange>, broadcast::Receiver<Exchange>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        // Subscribed under the lock, so that nothing falls between the two.
        let live = self.live.subscribe();
        let past = recent.iter().filter(|exchange| exchange.ended >= since && exchange.id > last_seen);
        (past.cloned().collect(), live)
    }
}

/// Milliseconds since the Unix epoch, with fractions: the page orders its own steps and ours by it.
#[expect(clippy::disallowed_methods, reason = "portcullis::system::clock knows whole seconds only")]
pub(crate) fn now_in_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64() * 1000.0)
}

/// A short name for a token that does not give it away, such as `jwt·3fa9c1`.
pub(crate) fn fingerprint(kind: &str, token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let mut text = format!("{kind}·");
    for byte in digest.as_ref().iter().take(3) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
