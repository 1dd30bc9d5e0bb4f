//! The bounds under any sequence of events, and against strangers who want to keep a user out.

use super::*;

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
