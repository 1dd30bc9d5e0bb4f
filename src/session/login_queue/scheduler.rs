//! The scheduler of the queue. It decides which logins wait, which are next, and which have their turn.

use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::session::login_name::{Key, LoginName, Site};
use crate::session::login_queue::round_robin::{Id, RoundRobin};

/// The largest numbers of logins and calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Calls at the same time.
    pub(super) calls: usize,
    /// Calls of one site at the same time.
    pub(super) of_site: usize,
    /// Sites of strangers that wait for one name.
    pub(super) strangers: usize,
    /// Consecutive turns of logins from known sites while a stranger waits.
    pub(super) known_in_a_row: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { calls: 64, of_site: 32, strangers: 16, known_in_a_row: 3 }
    }
}

/// The place of a login in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It waits behind other logins of its name.
    Waiting,
    /// The next login of its name. No other login of that name has its turn. It waits for a call.
    Next,
    /// It has the name and a call.
    Turn,
}

#[derive(Debug)]
pub(super) struct Login {
    pub(super) key: Key,
    pub(super) site: Site,
    pub(super) is_known: bool,
    pub(super) place: Place,
    /// Sends a message when the login gets its turn. If the sender is dropped, the login must make room.
    tell: Option<oneshot::Sender<()>>,
}

/// The logins of one user name.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// One of them has its turn.
    pub(super) is_taken: bool,
    pub(super) next: Option<Id>,
    pub(super) known: RoundRobin,
    pub(super) strangers: RoundRobin,
    /// The number of logins by site, in any place.
    pub(super) present: HashMap<Site, usize>,
}

impl Name {
    fn waiting(&mut self, is_known: bool) -> &mut RoundRobin {
        if is_known { &mut self.known } else { &mut self.strangers }
    }
}

/// All logins at one provider.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) bounds: Bounds,
    last_id: Id,
    pub(super) logins: HashMap<Id, Login>,
    pub(super) names: HashMap<Key, Name>,
    /// The next logins of their names, from known sites. They wait for a call.
    pub(super) next_known: RoundRobin,
    pub(super) next_strangers: RoundRobin,
    pub(super) calls: usize,
    pub(super) calls_of: HashMap<Site, usize>,
    known_in_a_row: u32,
}

impl Scheduler {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            last_id: 0,
            logins: HashMap::new(),
            names: HashMap::new(),
            next_known: RoundRobin::default(),
            next_strangers: RoundRobin::default(),
            calls: 0,
            calls_of: HashMap::new(),
            known_in_a_row: 0,
        }
    }

    /// See [`super::LoginQueue::enter`].
    pub(super) fn enter(
        &mut self,
        name: &LoginName,
        is_known: bool,
        max_waiting: usize,
        tell: oneshot::Sender<()>,
    ) -> Option<Id> {
        let (key, site) = (name.key().clone(), name.site());
        self.make_room(&key, site, is_known, max_waiting)?;
        self.last_id += 1;
        let id = self.last_id;
        let login = Login { key: key.clone(), site, is_known, place: Place::Waiting, tell: Some(tell) };
        let name = self.names.entry(key.clone()).or_default();
        name.waiting(is_known).push(site, id);
        *name.present.entry(site).or_default() += 1;
        self.logins.insert(id, login);
        self.go_on(&key);
        Some(id)
    }

    /// Removes a login from any place.
    pub(super) fn leave(&mut self, id: Id) {
        let Some(login) = self.logins.remove(&id) else { return };
        let Login { key, site, is_known, place, .. } = login;
        if let Some(name) = self.names.get_mut(&key) {
            decrement(&mut name.present, site);
            match place {
                Place::Waiting => name.waiting(is_known).remove(site, id),
                Place::Next => name.next = None,
                Place::Turn => name.is_taken = false,
            }
        }
        match place {
            Place::Waiting => {}
            Place::Next => self.next(is_known).remove(site, id),
            Place::Turn => {
                self.calls -= 1;
                decrement(&mut self.calls_of, site);
            }
        }
        self.go_on(&key);
    }

    /// Removes waiting logins if one more would be too many. Returns `None` if no waiting login can be removed.
    fn make_room(&mut self, key: &Key, site: Site, is_known: bool, max_waiting: usize) -> Option<()> {
        let Some(name) = self.names.get_mut(key) else { return Some(()) };
        let mut leaving = Vec::new();
        if name.present.get(&site).is_some_and(|present| *present > max_waiting) {
            leaving.push(name.waiting(is_known).any_of(site)?);
        } else if !is_known && !name.strangers.has(site) && name.strangers.sites() >= self.bounds.strangers {
            leaving = name.strangers.all_of_any_site();
        }
        for id in leaving {
            // This drops the sender, and so the login learns that it must make room.
            self.leave(id);
        }
        Some(())
    }

    /// Lets the next login of a name wait for a call, and gives free calls to waiting logins.
    fn go_on(&mut self, key: &Key) {
        self.nominate(key);
        while self.calls < self.bounds.calls && self.give_call() {}
    }

    fn nominate(&mut self, key: &Key) {
        let Some(name) = self.names.get_mut(key).filter(|name| !name.is_taken) else { return };
        if let Some(id) = name.next {
            let Some(login) = self.logins.get_mut(&id) else { return };
            if login.is_known || name.known.is_empty() {
                return;
            }
            // The next login is a stranger's. Its call has not begun, so it waits again.
            login.place = Place::Waiting;
            name.strangers.push_back_in_front(login.site, id);
            self.next_strangers.remove(login.site, id);
        }
        name.next = name.known.pop(|_| true).or_else(|| name.strangers.pop(|_| true));
        match name.next.and_then(|id| Some((id, self.logins.get_mut(&id)?))) {
            Some((id, login)) => {
                login.place = Place::Next;
                let (site, is_known) = (login.site, login.is_known);
                self.next(is_known).push(site, id);
            }
            None => {
                self.names.remove(key);
            }
        }
    }

    /// Gives a call to one login that may have it. Returns `false` if no login may.
    fn give_call(&mut self) -> bool {
        let may = |site: Site| self.calls_of.get(&site).is_none_or(|calls| *calls < self.bounds.of_site);
        let is_strangers_turn = self.known_in_a_row >= self.bounds.known_in_a_row;
        let (known, strangers) = (&mut self.next_known, &mut self.next_strangers);
        let (first, second) = if is_strangers_turn { (strangers, known) } else { (known, strangers) };
        let Some(id) = first.pop(may).or_else(|| second.pop(may)) else { return false };
        let Some(login) = self.logins.get_mut(&id) else { return true };
        login.place = Place::Turn;
        self.known_in_a_row = if login.is_known { self.known_in_a_row.saturating_add(1) } else { 0 };
        if let Some(name) = self.names.get_mut(&login.key) {
            (name.is_taken, name.next) = (true, None);
        }
        self.calls += 1;
        *self.calls_of.entry(login.site).or_default() += 1;
        if let Some(tell) = login.tell.take() {
            // If the login is just leaving, it gives the turn back as soon as it can.
            let _is_leaving = tell.send(());
        }
        true
    }

    fn next(&mut self, is_known: bool) -> &mut RoundRobin {
        if is_known { &mut self.next_known } else { &mut self.next_strangers }
    }
}

fn decrement(counts: &mut HashMap<Site, usize>, site: Site) {
    if let Some(count) = counts.get_mut(&site) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&site);
        }
    }
}
