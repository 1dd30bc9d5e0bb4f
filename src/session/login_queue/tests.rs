//! The turns as tables, under any sequence of events, and against strangers who want to keep a user out.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;

use super::scheduler::Place;
use super::*;
use crate::session::login_name::Site;

mod any_events;

fn name(username: &str, address: u32) -> LoginName {
    LoginName::new("id", username, Some(IpAddr::V4(address.into())))
}

fn small() -> LoginQueue {
    LoginQueue::new(Bounds { calls: 4, of_site: 2, strangers: 3, known_in_a_row: 3 })
}

/// The logins that have entered, in order, with their turns as far as they have come.
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
                Ok(()) => self.granted.push((who, Turn::holding(waiting.ticket))),
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
