//! The sites from which users have logged in. At a known site a user has a place of its own in the queue of logins.
//! Strangers at other sites cannot take it.
//!
//! Only a successful login is remembered, for a limited time. Each user name has a few sites. So nobody gets a place
//! without the password. The owner of one account takes one entry, from any number of addresses. The table is in
//! memory: a restart forgets it.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::time::Instant;

use crate::session::expiring_table::Expiring;
use crate::session::login_name::LoginName;

/// The largest number of user names. The names whose last login is the longest ago are forgotten first.
const MAX_NAMES: usize = 65_536;

/// The largest number of sites of one user name.
const MAX_SITES: usize = 8;

/// The time for which a site is remembered after the last login from it.
const IS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// A digest of a user name and its provider.
type Digest = [u8; 16];

/// Sites, each with the time of its last login. The site of the latest login is the last one.
type Sites = Vec<(IpAddr, Instant)>;

/// The table.
#[derive(Debug)]
pub(crate) struct KnownLoginSites(Mutex<Expiring<Digest, Sites>>);

impl Default for KnownLoginSites {
    fn default() -> Self {
        Self(Mutex::new(Expiring::new(MAX_NAMES)))
    }
}

impl KnownLoginSites {
    /// Tells whether this user name is remembered to have logged in from this site.
    pub(crate) fn knows(&self, name: &LoginName) -> bool {
        let Some(site) = name.site() else { return false };
        self.with(|table, now| {
            let sites = table.get(digest(name)).map(Vec::as_slice).unwrap_or_default();
            sites.iter().any(|(known, at)| *known == site && now.saturating_duration_since(*at) < IS_KEPT)
        })
    }

    /// Remembers that this user name has logged in from this site now.
    pub(crate) fn remember(&self, name: &LoginName) {
        let Some(site) = name.site() else { return };
        let key = digest(name);
        self.with(|table, now| {
            let mut sites = table.remove(key).unwrap_or_default();
            sites.retain(|(known, at)| *known != site && now.saturating_duration_since(*at) < IS_KEPT);
            if sites.len() >= MAX_SITES {
                sites.remove(0);
            }
            sites.push((site, now));
            table.insert(key, sites, now + IS_KEPT);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Expiring<Digest, Sites>, Instant) -> T) -> T {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let result = act(&mut table, now);
        table.forget_expired(now);
        result
    }
}

fn digest(name: &LoginName) -> Digest {
    let (issuer, username) = name.key();
    let mut context = Context::new(&SHA256);
    context.update(&(issuer.len() as u64).to_be_bytes());
    context.update(issuer.as_bytes());
    context.update(username.as_bytes());
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn name(username: &str, address: u32) -> LoginName {
        LoginName::new("id", username, Some(IpAddr::V4(address.into())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_is_known_to_one_name_and_for_a_while() {
        let known = KnownLoginSites::default();
        known.remember(&name("alice", 1));
        assert!(known.knows(&name(" ALICE", 1)));
        assert!(!known.knows(&name("alice", 2)) && !known.knows(&name("bob", 1)));
        let nowhere = LoginName::new("id", "alice", None);
        known.remember(&nowhere);
        assert!(!known.knows(&nowhere), "who knows where that was?");
        advance(IS_KEPT / 2).await;
        known.remember(&name("alice", 2));
        advance(IS_KEPT / 2).await;
        assert!(!known.knows(&name("alice", 1)));
        assert!(known.knows(&name("alice", 2)));
        known.remember(&name("alice", 3));
        assert!(known.knows(&name("alice", 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_account_takes_one_entry_and_a_few_sites() {
        let known = KnownLoginSites::default();
        known.remember(&name("alice", 1));
        advance(Duration::from_secs(1)).await;
        for address in 0..100_000 {
            known.remember(&name("mallory", address));
        }
        assert!(known.knows(&name("alice", 1)));
        assert!(known.knows(&name("mallory", 99_999)) && !known.knows(&name("mallory", 99_991)));
        for number in 0..70_000 {
            advance(Duration::from_millis(1)).await;
            known.remember(&name(&number.to_string(), 7));
        }
        assert!(known.0.lock().unwrap().sizes().0 <= MAX_NAMES);
        assert!(known.knows(&name("69999", 7)) && !known.knows(&name("alice", 1)));
    }
}
