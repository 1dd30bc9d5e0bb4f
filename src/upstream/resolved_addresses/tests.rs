use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

type Outcome = Result<Vec<IpAddr>, LookupError>;

fn found(addresses: &[u8]) -> Outcome {
    if addresses.is_empty() {
        return Err(LookupError::NoAddress);
    }
    Ok(addresses.iter().map(|last| ip(*last)).collect())
}

fn unclear() -> Outcome {
    Err(LookupError::Unclear(String::from("try again")))
}

#[test]
fn what_may_be_connected_to_by_what_was_said_and_when() {
    use Verdict::{AskFirst, Doubtful, Good, Lost};
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let known = Answer::default().after(&found(&[1]), 0, start);
    let address = Arc::clone(&known.addresses[0]);
    let verdict = |answer: &Answer, now| {
        (answer.verdict(&address, false, 0, at(now)), answer.verdict(&address, true, 0, at(now)))
    };
    assert_eq!(verdict(&known, 0), (Good, Good));
    assert_eq!(verdict(&known, 999), (Good, Good));
    assert_eq!(verdict(&known, 1000), (AskFirst, AskFirst));
    let with_another = known.after(&found(&[2, 1]), 0, at(1000));
    assert_eq!(verdict(&with_another, 1999), (Good, Good));
    let moved = known.after(&found(&[2]), 0, at(1000));
    assert_eq!((verdict(&moved, 1000), verdict(&moved, 5000)), ((Lost, Lost), (Lost, Lost)));
    let nobody = known.after(&Err(LookupError::NoAddress), 0, at(1000));
    assert_eq!(verdict(&nobody, 1000), (Lost, Lost));
    // It is the same number of the house, but who lives there?
    let back = moved.after(&found(&[1]), 0, at(2000));
    assert_eq!(verdict(&back, 2000), (Lost, Lost));

    let failing = known.after(&unclear(), 0, at(1000));
    assert_eq!((verdict(&failing, 1999), verdict(&failing, 2000)), ((Good, Good), (AskFirst, AskFirst)));
    let still_failing = failing.after(&unclear(), 0, at(29_500));
    assert_eq!(
        (verdict(&still_failing, 29_999), verdict(&still_failing, 30_000)),
        ((Good, Good), (Doubtful, Good))
    );
    let overdue = known.overdue();
    assert_eq!((verdict(&overdue, 29_999), verdict(&overdue, 30_000)), ((Good, Good), (Doubtful, Good)));

    address.fail();
    // DNS says that it is there.
    assert_eq!(verdict(&known, 0), (Good, Good));
    // Nobody does.
    assert_eq!((verdict(&failing, 1000), verdict(&overdue, 1000)), ((Doubtful, Good), (Doubtful, Good)));
    let again = failing.after(&found(&[1]), 0, at(3000)).after(&unclear(), 0, at(4000));
    assert_eq!(verdict(&again, 4000), (Good, Good));
}

#[test]
fn doubt_makes_a_look_up_at_once_but_not_for_ever() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut answer = Answer::default().beginning(start).after(&found(&[1]), 0, start);
    let address = Arc::clone(&answer.addresses[0]);
    let verdict = |answer: &Answer, doubts, now| answer.verdict(&address, true, doubts, at(now));
    assert_eq!((verdict(&answer, 0, 10), verdict(&answer, 1, 10)), (Verdict::Good, Verdict::AskFirst));
    let many = u64::try_from(HURRIED).unwrap();
    for doubts in 1..many {
        assert_eq!(answer.soonest(doubts, at(10)), at(10), "{doubts}");
        answer = answer.beginning(at(10)).after(&found(&[1]), doubts, at(10));
        assert_eq!(verdict(&answer, doubts, 10), Verdict::Good, "{doubts}");
    }
    // So many at once: the answer of the last second has to do.
    assert_eq!(
        (verdict(&answer, many, 1009), verdict(&answer, many, 1010)),
        (Verdict::Good, Verdict::AskFirst)
    );
    assert_eq!(answer.soonest(many, at(20)), at(1010));
    // What happens while a look-up is under way is news to it.
    let late = Answer::default().beginning(start).after(&found(&[1]), 7, at(500));
    assert!(!late.is_fresh(8, at(500)) && late.is_fresh(7, at(500)));
}

#[test]
fn it_is_looked_up_at_its_interval_but_every_second_while_no_address_is_known() {
    let start = Instant::now();
    let interval = SECOND * 5;
    let due = |answer: &Answer| answer.due(interval, start + SECOND * 100);
    let known = Answer::default().after(&found(&[1]), 0, start);
    assert_eq!(due(&Answer::default()), start + SECOND * 100);
    assert_eq!(due(&known), start + interval);
    assert_eq!(due(&known.after(&Err(LookupError::NoAddress), 0, start + SECOND)), start + SECOND * 2);
    assert_eq!(due(&known.after(&unclear(), 0, start + SECOND)), start + SECOND * 2);
    assert_eq!(due(&Answer::default().after(&unclear(), 0, start)), start + SECOND);
}

#[derive(Debug, Clone)]
enum Event {
    Found(BTreeSet<u8>),
    Nobody,
    Unclear,
    Overdue,
    /// A connection ends.
    Ends,
    /// A connect to this address fails.
    Fails(u8),
    Millis(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => prop::collection::btree_set(0..4_u8, 0..4).prop_map(Event::Found),
        1 => Just(Event::Nobody),
        3 => Just(Event::Unclear),
        1 => Just(Event::Overdue),
        2 => Just(Event::Ends),
        2 => (0..4_u8).prop_map(Event::Fails),
        4 => (0..2500_u64).prop_map(Event::Millis),
        1 => (20_000..40_000_u64).prop_map(Event::Millis),
    ]
}

/// The memory of a bystander of the events.
#[derive(Default)]
struct Witness {
    /// The addresses by the last clear answer, and under which number each has been there without a break.
    present: BTreeMap<u8, Option<u64>>,
    said: Option<Instant>,
    asked: Option<Instant>,
    /// Every look-up.
    began: Vec<Instant>,
    is_doubted: bool,
    is_clear: bool,
    is_overdue: bool,
    failed: BTreeSet<u8>,
}

impl Witness {
    fn sees(&mut self, event: &Event, now: Instant) {
        let present = match event {
            Event::Found(addresses) => addresses.clone(),
            Event::Nobody => BTreeSet::new(),
            Event::Unclear => {
                (self.asked, self.is_clear, self.is_overdue) = (Some(now), false, false);
                self.is_doubted = false;
                return;
            }
            Event::Overdue => {
                (self.is_clear, self.is_overdue) = (false, true);
                return;
            }
            Event::Fails(address) => {
                self.failed.insert(*address);
                self.is_doubted = true;
                return;
            }
            Event::Ends => {
                self.is_doubted = true;
                return;
            }
            Event::Millis(_) => return,
        };
        self.present.retain(|address, _| present.contains(address));
        for address in present {
            self.present.entry(address).or_default();
        }
        (self.said, self.asked) = (Some(now), Some(now));
        (self.is_clear, self.is_overdue, self.is_doubted) = (true, false, false);
        self.failed.clear();
    }

    /// Returns true if a connection to an address of the app could be justified.
    fn may_be_good(&self, address: &Address, has_certificate: bool, now: Instant) -> bool {
        let IpAddr::V4(octets) = address.ip else { return false };
        let last = octets.octets()[3];
        let is_present = self.present.get(&last) == Some(&Some(address.number));
        let may_hurry = self.began.iter().rev().nth(9).is_none_or(|began| now - *began >= SECOND * 10);
        let is_recent = self.asked.is_some_and(|asked| now - asked < SECOND);
        let is_recent = self.is_overdue || is_recent && !(self.is_doubted && may_hurry);
        let is_kept = self.said.is_some_and(|said| now - said < SECOND * 30) && !self.failed.contains(&last);
        is_present && is_recent && (self.is_clear || has_certificate || is_kept)
    }
}

proptest! {
    #[test]
    fn no_connection_is_made_without_evidence(events in prop::collection::vec(event(), 0..40)) {
        let (mut now, mut doubts) = (Instant::now(), 0);
        let mut answer = Answer::default();
        let mut witness = Witness::default();
        let mut every_address: BTreeMap<u64, Arc<Address>> = BTreeMap::new();
        for event in events {
            let before = answer.clone();
            let outcome = match &event {
                Event::Found(addresses) => Some(found(&addresses.iter().copied().collect::<Vec<_>>())),
                Event::Nobody => Some(Err(LookupError::NoAddress)),
                Event::Unclear => Some(unclear()),
                _ => None,
            };
            match (&event, outcome) {
                (_, Some(outcome)) => {
                    // One that was overdue has begun before.
                    if !witness.is_overdue {
                        answer = answer.beginning(now);
                        witness.began.push(now);
                    }
                    answer = answer.after(&outcome, doubts, now);
                }
                (Event::Overdue, None) => answer = answer.overdue(),
                (Event::Fails(last), None) => {
                    answer.addresses.iter().filter(|known| known.ip == ip(*last)).for_each(|known| known.fail());
                    doubts += 1;
                }
                (Event::Millis(millis), None) => now += Duration::from_millis(*millis),
                _ => doubts += 1,
            }
            witness.sees(&event, now);
            for address in &answer.addresses {
                let IpAddr::V4(octets) = address.ip else { unreachable!() };
                let number = witness.present.get_mut(&octets.octets()[3]);
                let number = number.expect("an address that was said").get_or_insert(address.number);
                prop_assert_eq!(*number, address.number, "the same address as long as it is there");
            }
            let numbers = |answer: &Answer| answer.addresses.iter().map(|known| known.number).collect::<Vec<_>>();
            prop_assert_eq!(answer.version != before.version, numbers(&answer) != numbers(&before));
            prop_assert_eq!(answer.addresses.len(), witness.present.len());
            every_address.extend(answer.addresses.iter().map(|known| (known.number, Arc::clone(known))));
            for address in every_address.values() {
                for has_certificate in [false, true] {
                    let is_good = answer.verdict(address, has_certificate, doubts, now) == Verdict::Good;
                    prop_assert_eq!(is_good, witness.may_be_good(address, has_certificate, now), "{:?}", event);
                }
            }
            let never_too_early = witness.asked.is_none_or(|asked| answer.due(SECOND * 5, now) >= asked + SECOND);
            prop_assert!(never_too_early);
        }
    }
}
