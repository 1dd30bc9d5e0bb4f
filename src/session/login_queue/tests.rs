//! The turns as tables, under any sequence of events, and against strangers who want to keep a user out.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;

use super::scheduler::Place;
use super::*;
use crate::session::login_name::Site;

fn name(username: &str, address: u32) -> LoginName {
    LoginName::new("id", username, Some(IpAddr::V4(address.into())))
}

fn small() -> LoginQueue {
    LoginQueue::new(Bounds { calls: 4, of_site: 2, strangers: 3, known_in_a_row: 3 })
}

/// Who has entered, in order, with their turns as far as they have come.
struct Crowd {
    turns: LoginQueue,
    waiting: Vec<(String, Waiting)>,
    granted: Vec<(String, Turn)>,
}

impl Crowd {
    fn new(turns: LoginQueue) -> Self {
        Self { turns, waiting: Vec::new(), granted: Vec::new() }
    }

    fn enter(&mut self, who: &str, name: &LoginName, is_known: bool, max_waiting: usize) -> bool {
        let entered = self.turns.enter(name, is_known, max_waiting);
        let is_in = entered.is_some();
        self.waiting.extend(entered.map(|waiting| (who.to_owned(), waiting)));
        self.settle();
        is_in
    }

    /// Takes the turns that have come; those who had to make room are gone.
    fn settle(&mut self) {
        for (who, mut waiting) in std::mem::take(&mut self.waiting) {
            match waiting.granted.try_recv() {
                Ok(()) => self.granted.push((who, Turn { _ticket: waiting.ticket })),
                Err(oneshot::error::TryRecvError::Empty) => self.waiting.push((who, waiting)),
                Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
    }

    /// The first one's turn ends.
    fn end_one(&mut self) {
        drop(self.granted.remove(0));
        self.settle();
    }

    fn end_of(&mut self, who: &str) {
        self.granted.retain(|(other, _)| other != who);
        self.settle();
    }

    fn turns(&self) -> Vec<&str> {
        self.granted.iter().map(|(who, _)| who.as_str()).collect()
    }

    fn is_waiting(&self, who: &str) -> bool {
        self.waiting.iter().any(|(other, _)| other == who)
    }
}

#[test]
fn one_name_one_turn_and_other_names_beside_it() {
    let mut crowd = Crowd::new(small());
    for (who, username) in [("a1", "Alice"), ("a2", " alice "), ("b1", "bob")] {
        assert!(crowd.enter(who, &name(username, 1), false, 8));
    }
    assert_eq!(crowd.turns(), ["a1", "b1"]);
    crowd.end_of("a1");
    assert_eq!(crowd.turns(), ["b1", "a2"]);
}

#[test]
fn strangers_take_turns_by_site() {
    let mut crowd = Crowd::new(small());
    for who in ["x1", "x2", "x3"] {
        crowd.enter(who, &name("alice", 1), false, 8);
    }
    crowd.enter("y1", &name("alice", 2), false, 8);
    crowd.enter("z1", &name("alice", 3), false, 8);
    let mut order = Vec::new();
    while let Some((who, _)) = crowd.granted.first() {
        order.push(who.clone());
        crowd.end_one();
    }
    assert_eq!(order, ["x1", "x2", "y1", "z1", "x3"], "x2 was alone when its turn was next");
}

#[test]
fn whoever_is_known_goes_first_even_before_the_next_one() {
    let mut crowd = Crowd::new(LoginQueue::new(Bounds { calls: 1, ..Bounds::default() }));
    // All calls are taken: the stranger has the name, but not a call yet.
    crowd.enter("other", &name("bob", 9), false, 8);
    crowd.enter("stranger", &name("alice", 1), false, 8);
    crowd.enter("owner", &name("alice", 2), true, 8);
    crowd.end_of("other");
    assert_eq!(crowd.turns(), ["owner"]);
    crowd.end_of("owner");
    assert_eq!(crowd.turns(), ["stranger"]);
}

#[test]
fn known_ones_do_not_starve_strangers() {
    let mut crowd = Crowd::new(LoginQueue::new(Bounds { calls: 1, ..Bounds::default() }));
    crowd.enter("first", &name("first", 1), true, 8);
    for number in 0..12 {
        crowd.enter(&format!("known{number}"), &name(&format!("user{number}"), number), true, 8);
    }
    crowd.enter("stranger", &name("alice", 99), false, 8);
    for turns in 0.. {
        if crowd.turns() == ["stranger"] {
            assert_eq!(turns, 3);
            break;
        }
        crowd.end_one();
    }
}

#[test]
fn a_site_has_no_more_than_half_of_all_calls() {
    let mut crowd = Crowd::new(small());
    for number in 0..9 {
        crowd.enter(&format!("x{number}"), &name(&format!("user{number}"), 1), number % 2 == 0, 8);
    }
    assert_eq!(crowd.turns().len(), 2);
    crowd.enter("y", &name("eve", 2), false, 8);
    assert_eq!(crowd.turns().len(), 3);
}

#[test]
fn where_too_many_wait_one_of_them_makes_room() {
    let mut was_newcomer = HashSet::new();
    for _ in 0..200 {
        let mut crowd = Crowd::new(small());
        crowd.enter("turn", &name("alice", 0), false, 8);
        for number in 1..=4 {
            assert!(
                crowd.enter(&format!("x{number}"), &name("alice", number), false, 8),
                "nobody is refused"
            );
        }
        assert_eq!(crowd.waiting.len(), 3);
        assert!(crowd.is_waiting("x4"), "who comes waits");
        was_newcomer.extend((1..=3).filter(|number| !crowd.is_waiting(&format!("x{number}"))));
        // A known one is admitted beside them, and nobody leaves for it.
        assert!(crowd.enter("owner", &name("alice", 9), true, 8));
        assert_eq!(crowd.waiting.len(), 4);
    }
    assert_eq!(was_newcomer, HashSet::from([1, 2, 3]), "any of them");
}

#[test]
fn of_one_site_no_more_wait_than_may() {
    let mut crowd = Crowd::new(small());
    for number in 0..5 {
        assert!(crowd.enter(&format!("x{number}"), &name("alice", 1), false, 2));
    }
    assert_eq!((crowd.waiting.len(), crowd.turns()), (2, vec!["x0"]));
    assert!(crowd.is_waiting("x4"));
    let mut alone = Crowd::new(small());
    assert!(alone.enter("x0", &name("alice", 1), false, 0));
    assert!(!alone.enter("x1", &name("alice", 1), false, 0), "nobody waits who could make room");
    assert!(alone.enter("y0", &name("alice", 2), false, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_holds_up_nobody() {
    let turns = LoginQueue::default();
    let enter = || turns.enter(&name("alice", 1), false, 8).unwrap();
    let first = enter().turn().await.unwrap();
    let moment = Duration::from_secs(1);
    assert!(timeout(moment, enter().turn()).await.is_err());
    let given_up = enter();
    let (third, fourth) = (enter(), enter());
    drop(given_up);
    drop(first);
    // Granted, and dropped before it knew.
    drop(third);
    assert!(timeout(moment, fourth.turn()).await.unwrap().is_some());
    assert!(lock(&turns.0).names.is_empty());
}

/// All that must hold at any time.
fn check(state: &Scheduler, max_waiting: usize) {
    let mut places: HashMap<Id, Place> = HashMap::new();
    let mut put = |id: Id, place: Place| assert_eq!(places.insert(id, place), None, "in two places");
    let mut taken = 0;
    for (key, name) in &state.names {
        for (queue, is_known) in [(&name.known, true), (&name.strangers, false)] {
            for (site, id) in queue.all() {
                put(id, Place::Waiting);
                let login = &state.logins[&id];
                assert_eq!((&login.key, login.site, login.is_known), (key, site, is_known));
            }
        }
        assert!(name.strangers.sites() <= state.bounds.strangers + 1, "and one that was the next");
        assert!(name.present.values().all(|present| *present <= max_waiting + 1));
        if !name.is_taken {
            let next = &state.logins[&name.next.expect("somebody is next")];
            assert!(next.is_known || name.known.is_empty(), "a known one waits behind a stranger");
        }
        taken += usize::from(name.is_taken);
    }
    for (queue, is_known) in [(&state.next_known, true), (&state.next_strangers, false)] {
        for (site, id) in queue.all() {
            put(id, Place::Next);
            let login = &state.logins[&id];
            assert_eq!((login.site, login.is_known), (site, is_known));
            assert_eq!(state.names[&login.key].next, Some(id));
            let has_room = state.calls_of.get(&site).is_none_or(|calls| *calls < state.bounds.of_site);
            assert!(state.calls >= state.bounds.calls || !has_room, "a call is left, and somebody waits");
        }
    }
    let mut calls_of: HashMap<Site, usize> = HashMap::new();
    for (id, login) in &state.logins {
        if login.place == Place::Turn {
            put(*id, Place::Turn);
            *calls_of.entry(login.site).or_default() += 1;
            assert!(state.names[&login.key].is_taken);
        }
    }
    assert_eq!(calls_of, state.calls_of);
    assert_eq!(calls_of.values().sum::<usize>(), state.calls);
    assert_eq!(taken, state.calls, "one turn for one name");
    assert!(
        state.calls <= state.bounds.calls && calls_of.values().all(|calls| *calls <= state.bounds.of_site)
    );
    assert_eq!(places.len(), state.logins.len(), "somebody is nowhere");
    assert!(state.logins.iter().all(|(id, login)| places[id] == login.place));
}

#[derive(Debug, Clone)]
enum Event {
    Enter { username: u8, address: u32, is_known: bool },
    End(prop::sample::Index),
    GiveUp(prop::sample::Index),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let enter = (0_u8..4, 0_u32..8, any::<bool>());
    let event = prop_oneof![
        3 => enter.prop_map(|(username, address, is_known)| Event::Enter { username, address, is_known }),
        2 => any::<prop::sample::Index>().prop_map(Event::End),
        1 => any::<prop::sample::Index>().prop_map(Event::GiveUp),
    ];
    proptest::collection::vec(event, 0..120)
}

proptest! {
    // Each case is a crowd of hundreds.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_the_bounds_hold_and_no_place_is_lost(events in events(), max_waiting in 0_usize..4) {
        let mut crowd = Crowd::new(small());
        for event in events {
            match event {
                Event::Enter { username, address, is_known } => {
                    let name = name(&username.to_string(), address);
                    crowd.enter("", &name, is_known, max_waiting);
                }
                Event::End(index) if !crowd.granted.is_empty() => {
                    drop(crowd.granted.remove(index.index(crowd.granted.len())));
                }
                Event::GiveUp(index) if !crowd.waiting.is_empty() => {
                    drop(crowd.waiting.remove(index.index(crowd.waiting.len())));
                }
                Event::End(_) | Event::GiveUp(_) => {}
            }
            check(&lock(&crowd.turns.0), max_waiting);
            // One that was told and has not looked yet may leave as well.
            crowd.settle();
        }
        let Crowd { turns, waiting, granted } = crowd;
        drop((waiting, granted));
        let state = lock(&turns.0);
        prop_assert!(state.names.is_empty() && state.logins.is_empty() && state.calls_of.is_empty());
        prop_assert!(state.next_known.is_empty() && state.next_strangers.is_empty() && state.calls == 0);
    }

    /// However many strangers come, from wherever, for her name or for others: each round of calls that is over brings the
    /// owner nearer, and she waits for a few of them at most.
    #[test]
    fn an_owner_waits_for_a_few_calls_whatever_strangers_do(
        for_her_name in 0_u32..60,
        for_others in 0_u32..200,
        sites_of_each in 1_u32..5,
        // Other known users, and other known sites of hers that somebody sits at.
        known_others in 0_u32..40,
        her_other_sites in 0_u32..7,
    ) {
        let mut crowd = Crowd::new(LoginQueue::default());
        let mut fresh = 1000;
        let mut flood = |crowd: &mut Crowd| {
            for number in 0..for_her_name {
                fresh += 1;
                crowd.enter("stranger", &name("alice", fresh / sites_of_each), false, 8);
                if number % 7 == 0 {
                    crowd.enter("stranger", &name("alice", 7), false, 8);
                }
            }
            for number in 0..for_others {
                fresh += 1;
                crowd.enter("stranger", &name(&format!("{fresh} {number}"), fresh), false, 8);
            }
            for number in 0..known_others {
                crowd.enter("known", &name(&format!("user{number}"), 500 + number), true, 8);
            }
            for number in 0..her_other_sites {
                crowd.enter("sitter", &name("alice", 100 + number), true, 8);
            }
        };
        for _ in 0..3 {
            flood(&mut crowd);
        }
        prop_assert!(crowd.enter("owner", &name("alice", 1), true, 8), "always admitted");
        // In each round every call comes to its end, all of them at the same moment, which is the worst: whoever is next then may
        // find no call left. And as many strangers come anew.
        let mut rounds = 0;
        while !crowd.turns().contains(&"owner") {
            prop_assert!(crowd.is_waiting("owner"), "never sent away");
            crowd.granted.clear();
            crowd.settle();
            flood(&mut crowd);
            rounds += 1;
            prop_assert!(rounds <= 2 * (2 + her_other_sites), "waits on after {rounds} rounds");
        }
    }
}
