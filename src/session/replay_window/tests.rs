//! Single flight, the replay window and ends, with time that stands still until it is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::advance;

use super::entries::{MAX_ENTRIES, REST};
use super::*;
use crate::access::identity::Identity;
use crate::access::identity_rules::IdentityRules;
use crate::access::numbers::testing::CLIENT;
use crate::access::testing::{NOW, claims, key_set, mint, token_rules};
use crate::access::token::verify;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::config::ClaimPath;
use crate::session::outcome::Tokens;

mod bounds;
mod ends;
mod outcomes;
mod reuse;

const WINDOW: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn key(token: &str) -> SessionKey {
    SessionKey::new(CLIENT, token)
}

fn renewed() -> Outcome {
    renewed_as(None)
}

/// The worth of a refresh whose JWT can be used for a while.
const GAIN: Gain = Gain { lasts: Duration::from_secs(300), rest: None, is_fresh: Duration::ZERO };

/// With another refresh token, each time with another JWT.
fn renewed_as(refresh_token: Option<&str>) -> Outcome {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let jti = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
    let access_token = mint(&claims(&serde_json::json!({ "jti": jti })));
    let verified = verify(&access_token, &token_rules(), &key_set(), NOW).unwrap().claims;
    let rules = IdentityRules {
        roles_claim: ClaimPath::Roles,
        headers: vec![],
        max_header_size: 4096,
        user_claims: vec![],
    };
    let identity = Arc::new(Identity::new(verified, &rules).unwrap());
    Outcome::Renewed(Arc::new(Tokens {
        access_token: AccessToken::new(access_token),
        refresh_token: refresh_token.map(RefreshToken::new),
        identity,
        rules: 0,
    }))
}

impl ReplayWindow {
    /// Whoever asks so has no use for the tokens that are kept.
    fn useless(&self, token: &str, asked: Asked) -> Asked {
        let useless = self.with(|state, _| state.given.get(key(token)).and_then(Given::jwt));
        Asked { useless, ..asked }
    }

    /// The JWT beside a refresh token is too old to be told again.
    fn given_is_stale(&self, token: &str) {
        self.with(|state, _| state.given.remove(key(token)));
    }
}

/// The claim, in a word.
fn turn(window: &ReplayWindow, token: &str) -> (String, Option<Claimed>) {
    of_turn(window.claim(key(token), FOLLOWED))
}

/// A JWT that is valid beside it, and another refresh token that led to this one.
const FOLLOWED: Asked =
    Asked { is_early: true, is_presented: false, useless: None, refresh_grace: Duration::ZERO };

/// No valid JWT.
const DUE: Asked =
    Asked { is_early: false, is_presented: true, useless: None, refresh_grace: Duration::ZERO };

fn of_turn(turn: Claim) -> (String, Option<Claimed>) {
    match turn {
        Claim::Mine(sender) => ("call".to_owned(), Some(sender)),
        Claim::Wait(_) => ("wait".to_owned(), None),
        Claim::Known(outcome) => (word(&outcome).to_owned(), None),
        Claim::Replaced(newest) => (format!("replaced {}", &*newest), None),
        Claim::Reused(newest) => (format!("reused {}", &*newest.unwrap()), None),
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Renewed(_) => "renewed",
        Outcome::Unverified(_) => "unverified",
        Outcome::Dead => "dead",
        Outcome::Ended => "ended",
        Outcome::ActionRequired(_) => "action required",
        Outcome::Unavailable | Outcome::Postponed(_) => "unavailable",
    }
}

/// A whole refresh, whose new tokens are used at once.
fn refresh(window: &ReplayWindow, token: &str, next: Option<&str>) {
    refresh_for_nobody(window, token, next);
    for brought in [Some(token), next].into_iter().flatten() {
        window.brought(key(brought));
    }
}

/// A refresh whose new tokens nobody uses.
fn refresh_for_nobody(window: &ReplayWindow, token: &str, next: Option<&str>) -> Mark {
    window.brought(key(token));
    let (what, _sender) = turn(window, token);
    assert_eq!(what, "call", "{token}");
    let outcome = window.finish(key(token), renewed_as(next), GAIN);
    let Outcome::Renewed(tokens) = outcome else { panic!("{outcome:?}") };
    tokens.identity.marks().token
}

/// The end of a claim, from the token on that replaced this one.
fn end_of_turn(window: &ReplayWindow, token: &str) -> String {
    let what = turn(window, token).0;
    match what.strip_prefix("replaced ") {
        Some(newest) => format!("{newest}: {}", turn(window, newest).0),
        None => what,
    }
}
