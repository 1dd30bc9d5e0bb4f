//! The calls to providers that go on even if no client waits for them. Their answers are sessions, so a process that
//! stops waits for them.

use std::sync::Arc;

use tokio::sync::watch;

/// The number of calls under way, for each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Refreshes. The provider may have replaced the refresh token already, so the session is in the answer.
    pub(crate) refreshes: usize,
    /// Logins. If the client has left, the new session has to be revoked.
    pub(crate) logins: usize,
    /// First attempts to revoke a refresh token.
    pub(crate) revocations: usize,
}

impl Counts {
    /// Tells whether no call is under way.
    pub(crate) fn are_zero(self) -> bool {
        self == Self::default()
    }

    const fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Refresh => &mut self.refreshes,
            Kind::Login => &mut self.logins,
            Kind::Revocation => &mut self.revocations,
        }
    }
}

/// The kind of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A refresh, until its outcome is published.
    Refresh,
    /// A login, until its client has the tokens, or their revocation has begun.
    Login,
    /// A revocation, until its first attempt is over.
    Revocation,
}

/// Counts the calls under way. A call changes the count when it begins and when it ends, and nobody holds a lock while
/// waiting.
#[derive(Debug, Default)]
pub(crate) struct CallsUnderWay(watch::Sender<Counts>);

impl CallsUnderWay {
    /// Counts a call until the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Self>, kind: Kind) -> CallUnderWay {
        self.0.send_modify(|counts| {
            let count = counts.of(kind);
            *count = count.saturating_add(1);
        });
        CallUnderWay { calls: Arc::clone(self), kind }
    }

    /// Returns the calls that are under way now.
    pub(crate) fn counts(&self) -> Counts {
        *self.0.borrow()
    }

    /// Waits until no call is under way.
    pub(crate) async fn ended(&self) {
        // The sender lives as long as this future, so there is no error.
        let _ = self.0.subscribe().wait_for(|counts| counts.are_zero()).await;
    }
}

/// A call under way. Dropping it ends the call, also after a panic.
#[derive(Debug)]
pub(crate) struct CallUnderWay {
    calls: Arc<CallsUnderWay>,
    kind: Kind,
}

impl CallUnderWay {
    /// Returns the count of all calls, for a call that follows this one.
    pub(crate) const fn calls(&self) -> &Arc<CallsUnderWay> {
        &self.calls
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        self.calls.0.send_modify(|counts| {
            let count = counts.of(self.kind);
            *count = count.saturating_sub(1);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn each_kind_is_counted_until_its_call_ends() {
        let calls = Arc::<CallsUnderWay>::default();
        assert!(calls.counts().are_zero());
        let refresh = calls.begin(Kind::Refresh);
        let revocation = refresh.calls().begin(Kind::Revocation);
        let _login = calls.begin(Kind::Login);
        assert_eq!(calls.counts(), Counts { refreshes: 1, logins: 1, revocations: 1 });
        drop((refresh, revocation));
        assert_eq!(calls.counts(), Counts { logins: 1, ..Counts::default() });
    }

    #[test]
    fn a_call_that_panics_has_ended() {
        let calls = Arc::<CallsUnderWay>::default();
        let call = calls.begin(Kind::Refresh);
        let panicked = std::thread::spawn(move || {
            let _call = call;
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panicked.join().is_err());
        assert!(calls.counts().are_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn all_have_ended_with_the_last_one_even_if_it_began_later() {
        let calls = Arc::<CallsUnderWay>::default();
        assert!(calls.ended().now_or_never().is_some());
        let first = calls.begin(Kind::Login);
        let last = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let next = first.calls().begin(Kind::Revocation);
            drop(first);
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(next);
        });
        calls.ended().await;
        last.await.unwrap();
        assert!(calls.counts().are_zero());
    }
}
