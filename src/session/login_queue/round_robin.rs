//! Logins that wait, by site. The sites take turns, and a turn lets one login go.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::session::login_name::Site;

/// The number of a login that waits.
pub(super) type Id = u64;

/// The sites in their order, and the logins that wait at each site.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    order: VecDeque<Site>,
    waiting: HashMap<Site, VecDeque<Id>>,
}

impl RoundRobin {
    /// Adds a login behind the other logins of its site.
    pub(super) fn push(&mut self, site: Site, id: Id) {
        let queue = self.waiting.entry(site).or_default();
        if queue.is_empty() {
            self.order.push_back(site);
        }
        queue.push_back(id);
    }

    /// Puts a login back in front of all others, after its turn was taken back.
    pub(super) fn push_back_in_front(&mut self, site: Site, id: Id) {
        let queue = self.waiting.entry(site).or_default();
        if !queue.is_empty() {
            self.order.retain(|other| *other != site);
        }
        queue.push_front(id);
        self.order.push_front(site);
    }

    /// Removes and returns the next login of a site for which `may` returns `true`.
    pub(super) fn pop(&mut self, may: impl Fn(Site) -> bool) -> Option<Id> {
        let position = self.order.iter().position(|site| may(*site))?;
        let site = self.order.remove(position)?;
        let queue = self.waiting.get_mut(&site)?;
        let id = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&site);
        } else {
            self.order.push_back(site);
        }
        id
    }

    /// Removes a login that does not wait any more.
    pub(super) fn remove(&mut self, site: Site, id: Id) {
        let Some(queue) = self.waiting.get_mut(&site) else { return };
        queue.retain(|other| *other != id);
        if queue.is_empty() {
            self.waiting.remove(&site);
            self.order.retain(|other| *other != site);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns the number of sites.
    pub(super) fn sites(&self) -> usize {
        self.order.len()
    }

    pub(super) fn has(&self, site: Site) -> bool {
        self.waiting.contains_key(&site)
    }

    /// Returns a login at a site, chosen at random.
    pub(super) fn any_of(&self, site: Site) -> Option<Id> {
        let queue = self.waiting.get(&site)?;
        queue.get(random(queue.len())).copied()
    }

    /// Returns all logins at one site. The site is chosen at random.
    pub(super) fn all_of_any_site(&self) -> Vec<Id> {
        let site = self.order.get(random(self.order.len()));
        site.and_then(|site| self.waiting.get(site))
            .map(|queue| queue.iter().copied().collect())
            .unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(Site, Id)> {
        assert_eq!(self.order.len(), self.waiting.len());
        let of_site = |site: &Site| self.waiting[site].iter().map(|id| (*site, *id)).collect::<Vec<_>>();
        self.order.iter().flat_map(of_site).collect()
    }
}

/// Returns a number below `end` that nobody can predict.
fn random(end: usize) -> usize {
    let number = RandomState::new().hash_one(());
    let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
    usize::try_from(number % end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const SITES: [Site; 5] = [
        None,
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))),
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3))),
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 4))),
    ];

    #[test]
    fn each_site_in_its_turn() {
        let mut queue = RoundRobin::default();
        for (at, id) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (3, 31)] {
            queue.push(SITES[at], id);
        }
        let mut order = Vec::new();
        while let Some(id) = queue.pop(|_| true) {
            order.push(id);
        }
        assert_eq!(order, [10, 20, 30, 11, 31, 12]);
        assert!(queue.is_empty() && queue.waiting.is_empty());
    }

    #[test]
    fn who_may_not_is_passed_over_and_keeps_its_place() {
        let mut queue = RoundRobin::default();
        for (at, id) in [(1, 10), (2, 20), (2, 21)] {
            queue.push(SITES[at], id);
        }
        assert_eq!(queue.pop(|at| at != SITES[1]), Some(20));
        assert_eq!(queue.pop(|_| true), Some(10));
        queue.push_back_in_front(SITES[1], 10);
        queue.push_back_in_front(SITES[2], 20);
        assert_eq!(queue.all(), [(SITES[2], 20), (SITES[2], 21), (SITES[1], 10)]);
        queue.remove(SITES[2], 20);
        queue.remove(SITES[2], 21);
        queue.remove(SITES[2], 21);
        assert_eq!(queue.all(), [(SITES[1], 10)]);
        assert_eq!(queue.pop(|_| false), None);
    }

    #[test]
    fn anybody_may_be_the_one_that_goes() {
        let mut queue = RoundRobin::default();
        for (site, id) in SITES.into_iter().zip([0, 10, 20, 30]) {
            queue.push(site, id);
            queue.push(site, id + 1);
        }
        let chosen: std::collections::BTreeSet<_> = (0..1000)
            .flat_map(|_| queue.all_of_any_site().into_iter().chain(queue.any_of(SITES[3])))
            .collect();
        assert_eq!(chosen.len(), 8);
        assert_eq!(queue.any_of(SITES[4]), None);
        assert!(RoundRobin::default().all_of_any_site().is_empty());
    }
}
