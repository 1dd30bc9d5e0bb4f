//! Bounds for refreshes whose refresh token anyone may have made up. Such refreshes are counted by caller, so that the
//! refreshes of known sessions never wait for them.
//!
//! A refresh token is in doubt if its cookie is not sealed, and if this process does not know it from a login or a
//! refresh.
//!
//! - If it comes without a genuine JWT, the refresh is a stranger's. Strangers have places of their own, and one
//!   address has few of them.
//! - If it comes with a genuine JWT, the session is unknown. After a restart every session is unknown. The refresh
//!   takes a place among the refreshes of sessions, but each subject has few places, because everybody who has or had
//!   an account can bring a genuine JWT.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::revocations::Mark;

/// The number of calls under way for each caller. One bound holds for all callers together, and one for each caller.
#[derive(Debug)]
pub(super) struct FewCalls<Caller> {
    most: usize,
    most_of_one: usize,
    calls: Mutex<HashMap<Caller, usize>>,
}

/// Strangers, by address.
pub(super) type StrangerCalls = FewCalls<Option<IpAddr>>;

/// Unknown sessions, by the subject of their JWT.
pub(super) type UnknownSessionCalls = FewCalls<Mark>;

/// A place. It is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Call<Caller: Copy + Eq + Hash> {
    calls: Arc<FewCalls<Caller>>,
    caller: Caller,
}

impl StrangerCalls {
    pub(super) fn of_strangers() -> Arc<Self> {
        Arc::new(Self { most: 64, most_of_one: 8, calls: Mutex::default() })
    }
}

impl UnknownSessionCalls {
    pub(super) fn of_unknown_sessions() -> Arc<Self> {
        Arc::new(Self { most: usize::MAX, most_of_one: 16, calls: Mutex::default() })
    }
}

impl<Caller: Copy + Eq + Hash> FewCalls<Caller> {
    /// Takes a place. Returns `None` at once if no place is free.
    pub(super) fn enter(self: &Arc<Self>, caller: Caller) -> Option<Call<Caller>> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let of_caller = calls.get(&caller).copied().unwrap_or_default();
        if of_caller >= self.most_of_one || calls.values().sum::<usize>() >= self.most {
            return None;
        }
        calls.insert(caller, of_caller + 1);
        Some(Call { calls: Arc::clone(self), caller })
    }
}

impl<Caller: Copy + Eq + Hash> Drop for Call<Caller> {
    fn drop(&mut self) {
        let mut calls = self.calls.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_caller) = calls.get_mut(&self.caller) {
            *of_caller -= 1;
            if *of_caller == 0 {
                calls.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::access::numbers::testing::PROVIDER;
    use std::net::Ipv4Addr;

    use super::*;

    fn site(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    #[test]
    fn one_address_has_few_places_and_all_have_not_many() {
        let calls = StrangerCalls::of_strangers();
        let of_one: Vec<_> = (0..calls.most_of_one).map(|_| calls.enter(Some(site(0))).unwrap()).collect();
        assert!(calls.enter(Some(site(0))).is_none());
        let others: Vec<_> = (1..=255).map_while(|number| calls.enter(Some(site(number)))).collect();
        assert_eq!(of_one.len() + others.len(), calls.most);
        drop(of_one);
        assert!(calls.enter(Some(site(0))).is_some());
        drop(others);
        assert!(calls.calls.lock().unwrap().is_empty(), "nothing is left behind");
    }

    #[test]
    fn one_subject_has_few_places_whatever_others_do() {
        let calls = UnknownSessionCalls::of_unknown_sessions();
        let subject = |number: u64| Mark::subject(PROVIDER, &number.to_string());
        let of_one: Vec<_> = (0..calls.most_of_one).map(|_| calls.enter(subject(0)).unwrap()).collect();
        assert!(calls.enter(subject(0)).is_none());
        let others: Vec<_> = (1..1000).map_while(|number| calls.enter(subject(number))).collect();
        assert_eq!(others.len(), 999);
        drop((of_one, others));
        assert!(calls.calls.lock().unwrap().is_empty());
    }
}
