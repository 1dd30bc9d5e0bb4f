use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn control() -> Arc<ExchangeControl> {
    Arc::new(ExchangeControl::new(SocketAddr::from(([127, 0, 0, 1], 1)), false))
}

/// An event in the life of connections.
#[derive(Debug, Clone)]
enum Step {
    Opens,
    Begins(usize),
    Ends(usize),
    Closes(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Opens),
        1 => (0..200_usize).prop_map(Step::Begins),
        2 => (0..200_usize).prop_map(Step::Ends),
        1 => (0..200_usize).prop_map(Step::Closes),
    ];
    prop::collection::vec(step, 0..400)
}

struct One {
    control: Arc<ExchangeControl>,
    /// `None`: it is busy, or fresh.
    waits_since: Option<usize>,
    _admitted: Admitted,
}

proptest! {
    /// Against the plain rule: at the bound the one that has waited longest goes, and where none waits the fresh one.
    #[test]
    fn the_one_that_has_waited_longest_makes_room(max in 1..100_usize, steps in steps()) {
        let connections = Connections::new(max);
        let begin = Instant::now();
        let mut all: Vec<One> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            // Each is looked at anew: the pause is another test's.
            connections.live().searched_in_vain = None;
            // Those that were told to go are gone at once.
            all.retain(|one| !one.control.is_closing_idle());
            match step {
                Step::Opens => {
                    let is_full = all.len() >= max;
                    let longest = all.iter().filter_map(|one| one.waits_since).min();
                    let fresh = control();
                    let admitted = connections.admit(&fresh);
                    prop_assert_eq!(admitted.is_some(), !is_full || longest.is_some());
                    let left: Vec<_> = all.iter().filter(|one| one.control.is_closing_idle()).map(|one| one.waits_since).collect();
                    prop_assert_eq!(left, if is_full && longest.is_some() { vec![longest] } else { vec![] });
                    all.extend(admitted.map(|admitted| One { control: fresh, waits_since: None, _admitted: admitted }));
                }
                Step::Begins(at) | Step::Ends(at) | Step::Closes(at) if at >= all.len() => {}
                Step::Begins(at) => {
                    all[at].control.end_waiting();
                    all[at].waits_since = None;
                }
                Step::Ends(at) => {
                    all[at].control.begin_waiting(begin + Duration::from_millis(number as u64));
                    all[at].waits_since = Some(number);
                }
                Step::Closes(at) => drop(all.swap_remove(at)),
            }
        }
    }
}

#[test]
fn those_that_leave_count_no_more_and_are_not_too_many() {
    let connections = Connections::new(16);
    let kept: Vec<_> = (0..16).map(|_| control()).collect();
    let mut places: Vec<_> = kept.iter().map(|control| connections.admit(control).unwrap()).collect();
    for control in &kept {
        control.begin_waiting(Instant::now());
    }
    // None of them goes: those that take their time must not let the bound grow.
    let admitted: Vec<_> = (0..16).filter_map(|_| connections.admit(&control())).collect();
    assert_eq!(admitted.len(), 3);
    assert_eq!(kept.iter().filter(|control| control.is_closing()).count(), 3);
    // Once one is gone, so is its place.
    places.retain({
        let mut at = 0;
        move |_| {
            at += 1;
            !kept[at - 1].is_closing()
        }
    });
    let more: Vec<_> = (0..16).filter_map(|_| connections.admit(&control())).collect();
    assert_eq!((more.len(), connections.count()), (3, 19));
}

#[tokio::test(start_paused = true)]
async fn newcomers_without_end_have_nobody_looked_at_each_time() {
    let connections = Connections::new(1);
    let busy = control();
    let _place = connections.admit(&busy).unwrap();
    assert!(connections.admit(&control()).is_none());
    busy.begin_waiting(Instant::now());
    assert!(connections.admit(&control()).is_none(), "it was looked at a moment ago");
    tokio::time::advance(SEARCH_PAUSE).await;
    assert!(connections.admit(&control()).is_some());
}

#[tokio::test]
async fn a_place_is_waited_for_until_somebody_has_left() {
    let connections = Connections::new(4);
    assert!(connections.make_room().is_none());
    let idle = control();
    let admitted = connections.admit(&idle).unwrap();
    idle.begin_waiting(Instant::now());
    tokio::time::pause();
    tokio::time::advance(SEARCH_PAUSE).await;
    tokio::time::resume();
    let place = connections.make_room().unwrap();
    assert!(idle.is_closing_idle());
    let waiting = tokio::spawn(place.wait());
    drop(admitted);
    waiting.await.unwrap();
    assert_eq!(connections.count(), 0);
}
