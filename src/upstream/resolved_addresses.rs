//! The outcome of a host name's last look-ups, and the rule that says how long one of its addresses counts as the
//! app's.
//!
//! An address belongs to whichever machine has it now. When a container stops, another one may get its address. So a
//! new connection to an address is made only while there is evidence that the name still has the address.
//!
//! There are two kinds of evidence. The first is an answer of the last second, if no connection has ended since then.
//! The second counts if look-ups fail: an answer that is not too old, if no connect to the address has failed since
//! then. An open connection needs no evidence, because it ends at the app to which it was made.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::system::name_lookup::LookupError;

/// An answer of at most this age is as good as a new one, unless there is doubt.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// The number of look-ups that may follow each other at once because of doubt. On average there is one in [`FRESH`].
/// For an app that ends its connections all the time, the answer of the last second counts.
pub(super) const HURRIED: usize = 10;
const HURRY: Duration = Duration::from_secs(10);

/// The time for which an address without a certificate counts as the app's while look-ups fail.
pub(super) const KEPT: Duration = Duration::from_secs(30);

/// An address of a name, from its first to its last answer in a row. If the address comes back later, it is a new
/// `Address`.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    /// No other `Address` of this process has this number.
    pub(super) number: u64,
    /// A connect to the address has failed since it was last in an answer.
    failed: AtomicBool,
}

impl Address {
    fn new(ip: IpAddr) -> Arc<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { ip, number: LAST.fetch_add(1, Ordering::Relaxed), failed: AtomicBool::new(false) })
    }

    /// Notes that a connect to the address has failed.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// All that is known about a name.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// The addresses, sorted.
    pub(super) addresses: Vec<Arc<Address>>,
    /// Changes whenever the addresses change.
    pub(super) version: u64,
    /// The outcome of the last look-up.
    pub(super) state: State,
    /// When the last look-ups began. The latest comes first.
    began: [Option<Instant>; HURRIED],
    /// When the last look-up ended.
    asked: Option<Instant>,
    /// The number of doubts when that look-up began.
    doubts: u64,
    /// When a look-up last said which addresses there are, or that there are none.
    said: Option<Instant>,
    /// A look-up is under way that has taken too long to wait for.
    is_overdue: bool,
}

/// The outcome of the last look-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    /// There was no look-up yet.
    #[default]
    Unknown,
    /// The look-up found addresses.
    Found,
    /// The name does not exist, or has no address.
    Nobody,
    /// The look-up failed, or takes too long.
    Unclear,
}

impl State {
    /// Returns the name of the state for metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "none",
            Self::Found => "found",
            Self::Nobody => "no_address",
            Self::Unclear => "failed",
        }
    }
}

/// The verdict that says if a connection to an address may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The address is the app's.
    Good,
    /// The answer is too old: the name must be looked up first.
    AskFirst,
    /// The name no longer has the address.
    Lost,
    /// Nobody can say whose address it is.
    Doubtful,
}

impl Answer {
    /// Returns this answer, with a look-up that begins.
    pub(super) fn beginning(&self, now: Instant) -> Self {
        let mut next = self.clone();
        next.began.rotate_right(1);
        next.began.iter_mut().take(1).for_each(|began| *began = Some(now));
        next
    }

    /// Returns what is known after a look-up. `doubts` is the number of doubts when the look-up began.
    pub(super) fn after(
        &self,
        outcome: &Result<Vec<IpAddr>, LookupError>,
        doubts: u64,
        now: Instant,
    ) -> Self {
        let found: BTreeSet<IpAddr> = match outcome {
            Ok(addresses) => addresses.iter().copied().collect(),
            Err(LookupError::NoAddress) => BTreeSet::new(),
            Err(LookupError::Unclear(_)) => {
                let (asked, state) = (Some(now), State::Unclear);
                return Self { asked, doubts, state, is_overdue: false, ..self.clone() };
            }
        };
        let known = |ip: &IpAddr| self.addresses.iter().find(|known| known.ip == *ip);
        let is_same = found.len() == self.addresses.len() && found.iter().all(|ip| known(ip).is_some());
        let addresses = found.iter().map(|ip| known(ip).cloned().unwrap_or_else(|| Address::new(*ip)));
        let addresses: Vec<_> = addresses.collect();
        for address in &addresses {
            address.failed.store(false, Ordering::Relaxed);
        }
        let version = self.version + u64::from(!is_same);
        let state = if addresses.is_empty() { State::Nobody } else { State::Found };
        let (asked, said) = (Some(now), Some(now));
        Self { addresses, version, state, asked, doubts, said, is_overdue: false, began: self.began }
    }

    /// Returns this answer, with a look-up that takes too long.
    pub(super) fn overdue(&self) -> Self {
        Self { is_overdue: true, state: State::Unclear, ..self.clone() }
    }

    /// Returns true if something happened since the last look-up began.
    pub(super) fn is_doubted(&self, doubts: u64) -> bool {
        doubts != self.doubts
    }

    /// Returns true if another look-up is not useful now, or not due yet.
    pub(super) fn is_fresh(&self, doubts: u64, now: Instant) -> bool {
        self.is_overdue || now < self.soonest(doubts, now)
    }

    /// Returns when the name may be looked up again.
    pub(super) fn soonest(&self, doubts: u64, now: Instant) -> Instant {
        let Some(asked) = self.asked else { return now };
        let [.., first] = self.began;
        let in_a_hurry = first.map_or(now, |began| began + HURRY);
        if self.is_doubted(doubts) { in_a_hurry.min(asked + FRESH) } else { asked + FRESH }
    }

    /// Returns when the name must be looked up again, if nothing happens before.
    pub(super) fn due(&self, interval: Duration, now: Instant) -> Instant {
        let interval = if self.state == State::Found { interval } else { FRESH };
        self.asked.map_or(now, |asked| asked + interval)
    }

    /// Decides if a connection to an address may be made. `has_certificate` is true if a certificate must prove that
    /// the server is the app.
    pub(super) fn verdict(
        &self,
        address: &Address,
        has_certificate: bool,
        doubts: u64,
        now: Instant,
    ) -> Verdict {
        if !self.addresses.iter().any(|known| known.number == address.number) {
            Verdict::Lost
        } else if !self.is_fresh(doubts, now) {
            Verdict::AskFirst
        } else if self.state == State::Found || has_certificate || self.may_be_kept(address, now) {
            Verdict::Good
        } else {
            Verdict::Doubtful
        }
    }

    fn may_be_kept(&self, address: &Address, now: Instant) -> bool {
        self.said.is_some_and(|said| now < said + KEPT) && !address.failed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
