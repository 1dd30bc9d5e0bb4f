//! The outcome of a host name's last look-ups, and the rule for how long one of its addresses may be taken for the
//! app's.
//!
//! An address belongs to whoever has it now: when a container goes, another one may get it. So a new connection to one
//! is made only while there is evidence that the name still has it: an answer of the last second that no end of a
//! connection has cast doubt on, or, where look-ups fail, one that is not too old and that no failed connect speaks
//! against. A living connection needs none: it ends at the app that it was made to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::system::name_lookup::LookupError;

/// An answer of this age is as good as a new one, unless there is doubt.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// So many look-ups may follow each other at once because of doubt; on the average there is one in [`FRESH`]. An app
/// that ends its connections all the time is as good as its answer of the last second.
pub(super) const HURRIED: usize = 10;
const HURRY: Duration = Duration::from_secs(10);

/// The time for which an address without a certificate is good while look-ups fail.
pub(super) const KEPT: Duration = Duration::from_secs(30);

/// An address of a name, from its first to its last answer in a row. When it comes back, it is another one.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    /// No other has it in this process.
    pub(super) number: u64,
    /// It could not be connected to since it was last in an answer.
    failed: AtomicBool,
}

impl Address {
    fn new(ip: IpAddr) -> Arc<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { ip, number: LAST.fetch_add(1, Ordering::Relaxed), failed: AtomicBool::new(false) })
    }

    /// A connect to it has failed.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// The knowledge of a name.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// Sorted.
    pub(super) addresses: Vec<Arc<Address>>,
    /// Another one whenever the addresses are others.
    pub(super) version: u64,
    /// The outcome of the last look-up.
    pub(super) state: State,
    /// When the last look-ups began, the last one first.
    began: [Option<Instant>; HURRIED],
    /// When the last one ended.
    asked: Option<Instant>,
    /// The number of doubts there had been when it began.
    doubts: u64,
    /// When one last said which addresses there are, or that there are none.
    said: Option<Instant>,
    /// A look-up is under way that takes too long to wait for.
    is_overdue: bool,
}

/// The outcome of the last look-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    /// There was none yet.
    #[default]
    Unknown,
    /// It found addresses.
    Found,
    /// There is no such name, or it has no address.
    Nobody,
    /// It failed, or takes too long.
    Unclear,
}

impl State {
    /// As metrics have it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "none",
            Self::Found => "found",
            Self::Nobody => "no_address",
            Self::Unclear => "failed",
        }
    }
}

/// The verdict on a connection to an address: may it be made?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the app's.
    Good,
    /// The answer is too old: the name is to be looked up.
    AskFirst,
    /// The name has it no more.
    Lost,
    /// Nobody can say whose it is.
    Doubtful,
}

impl Answer {
    /// The same while a look-up begins.
    pub(super) fn beginning(&self, now: Instant) -> Self {
        let mut next = self.clone();
        next.began.rotate_right(1);
        next.began.iter_mut().take(1).for_each(|began| *began = Some(now));
        next
    }

    /// Returns what is known after the look-up that began when there was so much doubt.
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

    /// The same while a look-up does not come to an end.
    pub(super) fn overdue(&self) -> Self {
        Self { is_overdue: true, state: State::Unclear, ..self.clone() }
    }

    /// Returns true if something happened since the last look-up began.
    pub(super) fn is_doubted(&self, doubts: u64) -> bool {
        doubts != self.doubts
    }

    /// Returns true if another look-up is of no use now, or not due yet.
    pub(super) fn is_fresh(&self, doubts: u64, now: Instant) -> bool {
        self.is_overdue || now < self.soonest(doubts, now)
    }

    /// When the name may be looked up again.
    pub(super) fn soonest(&self, doubts: u64, now: Instant) -> Instant {
        let Some(asked) = self.asked else { return now };
        let [.., first] = self.began;
        let in_a_hurry = first.map_or(now, |began| began + HURRY);
        if self.is_doubted(doubts) { in_a_hurry.min(asked + FRESH) } else { asked + FRESH }
    }

    /// When the name is to be looked up again, if nothing happens before.
    pub(super) fn due(&self, interval: Duration, now: Instant) -> Instant {
        let interval = if self.state == State::Found { interval } else { FRESH };
        self.asked.map_or(now, |asked| asked + interval)
    }

    /// Judges if a connection may be made to an address, where a certificate may prove whose it is.
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
