//! Random courses of events.

use proptest::prelude::*;

/// A time or a duration in milliseconds.
pub(super) type Millis = u64;

/// The number of replicas.
pub(super) const REPLICAS: usize = 3;

/// The number of browsers.
pub(super) const BROWSERS: usize = 2;

/// A course of events.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// The provider takes a replaced refresh token once more for a while.
    pub(super) has_grace: bool,
    /// A claim is granted only if the copy has it.
    pub(super) waits_for_copy: bool,
    pub(super) events: Vec<Event>,
}

/// An event.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// Time passes.
    Pass(Millis),
    /// A browser sends requests at once. Each digit of `spread` to the base of three is the replica of a request.
    Requests { browser: usize, number: u32, spread: usize, is_old_tab: bool },
    /// The next answer with tokens does not reach this browser.
    AnswerMissed { browser: usize },
    /// The next item of this kind of a replica has a fate.
    Disturb { replica: usize, part: Part, fate: Fate },
    /// The provider does this at its next call.
    Provider(Conduct),
    /// A replica has no connection to the engine.
    Cut { replica: usize, lasts: Millis },
    /// A replica does not run, as on a machine that sleeps.
    Freeze { replica: usize, lasts: Millis },
    /// A replica's process is killed. Another one starts.
    Kill { replica: usize },
    /// The engine is stopped, and carries out later what it has received.
    Stop(Millis),
    /// The engine is killed, and comes back with this data.
    Down { lasts: Millis, data: Memory },
    /// The copy of the engine gets no more data from now on.
    CopyLags,
}

/// A kind of item between a replica and the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Request,
    Answer,
    Message,
}

/// The fate of an item.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Lost,
    Late(Millis),
}

/// The conduct of the provider at one call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Conduct {
    /// It takes this time before it decides, and this time after it.
    Slow { before: Millis, after: Millis },
    /// It is overloaded and says so.
    Busy,
    /// It has processed the refresh token, and its answer is lost.
    AnswerLost,
    /// It never gets the request, and the replica does not know that.
    RequestLost,
}

/// The data with which the engine comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    Nothing,
    All,
    /// Those of the copy.
    Copy,
}

/// Makes courses of at most this number of events.
pub(super) fn histories(most: usize) -> impl Strategy<Value = History> {
    let events = prop::collection::vec(event(), 10..=most);
    (prop::bool::weighted(0.2), prop::bool::weighted(0.2), events)
        .prop_map(|(has_grace, waits_for_copy, events)| History { has_grace, waits_for_copy, events })
}

fn event() -> impl Strategy<Value = Event> {
    let (replica, browser) = (0..REPLICAS, 0..BROWSERS);
    prop_oneof![
        5 => (1..4_u64).prop_map(Event::Pass),
        4 => (4..60_u64).prop_map(Event::Pass),
        4 => (60..1_000_u64).prop_map(Event::Pass),
        4 => (1_000..7_000_u64).prop_map(Event::Pass),
        2 => (7_000..40_000_u64).prop_map(Event::Pass),
        14 => (browser.clone(), 1..=5_u32, 0..243_usize, prop::bool::weighted(0.15)).prop_map(
            |(browser, number, spread, is_old_tab)| Event::Requests { browser, number, spread, is_old_tab }
        ),
        1 => browser.prop_map(|browser| Event::AnswerMissed { browser }),
        4 => (replica.clone(), part(), fate())
            .prop_map(|(replica, part, fate)| Event::Disturb { replica, part, fate }),
        3 => conduct().prop_map(Event::Provider),
        1 => (replica.clone(), lasts()).prop_map(|(replica, lasts)| Event::Cut { replica, lasts }),
        1 => (replica.clone(), sleeps()).prop_map(|(replica, lasts)| Event::Freeze { replica, lasts }),
        1 => replica.prop_map(|replica| Event::Kill { replica }),
        1 => lasts().prop_map(Event::Stop),
        2 => (lasts(), memory()).prop_map(|(lasts, data)| Event::Down { lasts, data }),
        1 => Just(Event::CopyLags),
    ]
}

/// Outages are short, so that calls are under way at their end, or long.
fn lasts() -> impl Strategy<Value = Millis> {
    prop_oneof![2 => 1..300_u64, 3 => 300..6_000_u64, 1 => 6_000..90_000_u64]
}

/// A machine may sleep for longer than a claim lasts.
fn sleeps() -> impl Strategy<Value = Millis> {
    prop_oneof![1 => lasts(), 1 => 60_000..90_000_u64]
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![Just(Part::Request), Just(Part::Answer), Just(Part::Message)]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        2 => Just(Fate::Lost),
        2 => (1..1_500_u64).prop_map(Fate::Late),
        1 => (1_500..20_000_u64).prop_map(Fate::Late),
    ]
}

fn conduct() -> impl Strategy<Value = Conduct> {
    let time = || prop_oneof![2 => 0..100_u64, 2 => 100..3_000_u64, 1 => 3_000..15_000_u64];
    prop_oneof![
        6 => (time(), time()).prop_map(|(before, after)| Conduct::Slow { before, after }),
        1 => Just(Conduct::Busy),
        1 => Just(Conduct::AnswerLost),
        1 => Just(Conduct::RequestLost),
    ]
}

fn memory() -> impl Strategy<Value = Memory> {
    prop_oneof![Just(Memory::Nothing), Just(Memory::All), Just(Memory::Copy)]
}
