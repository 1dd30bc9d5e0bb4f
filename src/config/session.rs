//! `[session]`: the protection and the lifetime of sessions.

use std::time::Duration;

use crate::config::reader::{Section, boolean};
use crate::config::seal_key::{SealKey, seal_keys};
use crate::config::values::duration::duration;

/// `[session]`.
#[derive(Debug, Clone)]
pub struct Session {
    /// The keys that seal the refresh token's cookie. The first key seals, and all of them open. If the list is empty,
    /// the cookie is not sealed.
    pub seal_keys: Vec<SealKey>,
    /// If true, a refresh needs the JWT of the same session. The default is true if cookies are sealed.
    pub bind_refresh: bool,
    /// The lifetime from the login. With `None`, a session lasts as long as the provider refreshes it.
    pub absolute_lifetime: Option<Duration>,
    /// The lifetime from the last request. With `None`, there is no limit.
    pub idle_lifetime: Option<Duration>,
    /// The time for which the revocation of a session or a subject is kept. It should exceed the lifetime of refresh
    /// tokens.
    pub revocation_lifetime: Duration,
}

/// Reads `[session]`.
pub(super) fn session(root: &Section<'_>) -> Option<Session> {
    let section = root.section("session");
    let seal_keys =
        section.defaulted("seal_keys", "[]", |item| seal_keys(item, "write a list of secrets, or `[]`"));
    let bind_refresh = section.optional("bind_refresh", "true with seal_keys, else false", boolean);
    let lifetime = |name| {
        section.optional(name, "no limit", |item| {
            if seal_keys.as_ref().is_some_and(Vec::is_empty) {
                return item.fault(
                    format!(
                        "`{name}` needs `session.seal_keys`: a session's age is kept in the sealed cookie"
                    ),
                    "add `seal_keys = [{ env = \"SEAL_KEY\" }]`",
                );
            }
            duration(item, "1s", "400d")
        })
    };
    let absolute_lifetime = lifetime("absolute_lifetime");
    let idle_lifetime = lifetime("idle_lifetime");
    let revocation_lifetime =
        section.defaulted("revocation_lifetime", "\"30d\"", |item| duration(item, "1m", "400d"));
    let (absolute_lifetime, idle_lifetime) = (absolute_lifetime?, idle_lifetime?);
    if let Some((absolute, idle)) = absolute_lifetime.zip(idle_lifetime)
        && absolute < idle
    {
        return section.fault_at(
            "idle_lifetime",
            "it is longer than `absolute_lifetime` and would never end a session",
            "write a shorter duration, or leave the key out",
        );
    }
    let seal_keys = seal_keys?;
    Some(Session {
        bind_refresh: bind_refresh?.unwrap_or(!seal_keys.is_empty()),
        seal_keys,
        absolute_lifetime,
        idle_lifetime,
        revocation_lifetime: revocation_lifetime?,
    })
}
