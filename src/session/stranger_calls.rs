//! Refreshes for strangers: with a refresh token that anyone may have made up, since it is not sealed, was not given by
//! this process, and comes without a genuine JWT. They have places of their own, so that the refreshes of sessions never
//! wait for them, and one address has few of these.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Calls at once for all strangers.
const MAX_CALLS: usize = 64;

/// The same for one address.
const MAX_PER_SITE: usize = 8;

/// Who is calling now, by address.
#[derive(Debug, Default)]
pub(super) struct StrangerCalls(Mutex<HashMap<Option<IpAddr>, usize>>);

/// A place, given up when dropped.
#[derive(Debug)]
pub(super) struct StrangerCall {
    calls: Arc<StrangerCalls>,
    site: Option<IpAddr>,
}

impl StrangerCalls {
    /// A place for an address, or `None` at once if there is none.
    pub(super) fn enter(self: &Arc<Self>, site: Option<IpAddr>) -> Option<StrangerCall> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_site = calls.get(&site).copied().unwrap_or_default();
        if of_site >= MAX_PER_SITE || calls.values().sum::<usize>() >= MAX_CALLS {
            return None;
        }
        calls.insert(site, of_site + 1);
        Some(StrangerCall { calls: Arc::clone(self), site })
    }
}

impl Drop for StrangerCall {
    fn drop(&mut self) {
        let mut calls = self.calls.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_site) = calls.get_mut(&self.site) {
            *of_site -= 1;
            if *of_site == 0 {
                calls.remove(&self.site);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn site(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    #[test]
    fn one_address_has_few_places_and_all_have_not_many() {
        let calls = Arc::<StrangerCalls>::default();
        let of_one: Vec<_> = (0..MAX_PER_SITE).map(|_| calls.enter(Some(site(0))).unwrap()).collect();
        assert!(calls.enter(Some(site(0))).is_none());
        let others: Vec<_> = (1..=255).map_while(|number| calls.enter(Some(site(number)))).collect();
        assert_eq!(of_one.len() + others.len(), MAX_CALLS);
        drop(of_one);
        assert!(calls.enter(Some(site(0))).is_some());
        drop(others);
        assert!(calls.0.lock().unwrap().is_empty(), "nothing is left behind");
    }
}
