//! A directory of host names that a test can change while the gateway runs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portcullis::system::name_lookup::{Lookup, LookupError, SystemLookup};
use tokio::sync::Notify;

use super::wire::patiently;

/// The directory's answer for a name.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// It has these addresses.
    Has(Vec<IpAddr>),
    /// There is no such name.
    Nobody,
    /// The name server is in trouble.
    Unclear,
    /// Nothing, until it says something else.
    Silence,
}

/// The directory. Names that it has never heard of are the system's.
#[derive(Debug, Default)]
pub(crate) struct Names {
    says: Mutex<HashMap<String, Says>>,
    asked: Mutex<Vec<(String, Instant)>>,
    changed: Notify,
    system: SystemLookup,
}

impl Names {
    pub(crate) fn set(&self, host: &str, says: Says) {
        self.says.lock().unwrap().insert(host.to_owned(), says);
        self.changed.notify_waiters();
    }

    /// The name has these addresses from now on.
    pub(crate) fn point(&self, host: &str, addresses: &[IpAddr]) {
        self.set(host, Says::Has(addresses.to_vec()));
    }

    /// When it was asked for a name.
    pub(crate) fn asked(&self, host: &str) -> Vec<Instant> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(name, _)| name == host).map(|(_, when)| *when).collect()
    }

    /// Waits until the last answer about a name is so old that it is asked for again before a connection is made.
    pub(crate) async fn grow_old(&self, host: &str) {
        const OLD: Duration = Duration::from_millis(1100);
        patiently("an old answer", async {
            while self.asked(host).last().is_none_or(|last| last.elapsed() < OLD) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Waits until it was asked for a name more often than so many times.
    pub(crate) async fn asked_beyond(&self, host: &str, times: usize) {
        patiently("a look-up", async {
            while self.asked(host).len() <= times {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

#[async_trait]
impl Lookup for Names {
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        self.asked.lock().unwrap().push((host.to_owned(), Instant::now()));
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before the look, or a change between the two would be missed.
            changed.as_mut().enable();
            let says = self.says.lock().unwrap().get(host).cloned();
            match says {
                Some(Says::Has(addresses)) => return Ok(addresses),
                Some(Says::Nobody) => return Err(LookupError::NoAddress),
                Some(Says::Unclear) => return Err(LookupError::Unclear("try again".into())),
                Some(Says::Silence) => changed.await,
                None => return self.system.addresses(host).await,
            }
        }
    }
}
