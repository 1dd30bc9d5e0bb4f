//! One timer for all deadlines of a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Fires for the deadline that is asked about, but touches the runtime's timer wheel (whose lock the workers share)
/// only when that deadline is nearer than all before it, or when it has fired. A connection under load so goes
/// through thousands of deadlines with a handful of timer operations.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    fires_at: Option<Instant>,
}

impl Timer {
    /// Ready once `deadline` has passed; otherwise the task is woken by then.
    pub(crate) fn poll_deadline(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            match self.fires_at {
                Some(fires_at) if fires_at <= deadline => {}
                _ => {
                    sleep.as_mut().reset(deadline);
                    self.fires_at = Some(deadline);
                }
            }
            match sleep.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if self.fires_at.take() == Some(deadline) => return Poll::Ready(()),
                // It fired for an earlier deadline that is no longer of interest.
                Poll::Ready(()) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fires_for_the_deadline_that_is_asked_about() {
        let start = Instant::now();
        let mut timer = Timer::default();
        let far = start + Duration::from_secs(60);
        let near = start + Duration::from_secs(10);
        // As on a connection: armed for the far one, then for the near one, which then no longer matters.
        poll_fn(|context| {
            assert!(timer.poll_deadline(context, far).is_pending());
            assert!(timer.poll_deadline(context, near).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|context| timer.poll_deadline(context, far)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(60));
        let next = Instant::now() + Duration::from_secs(1);
        poll_fn(|context| timer.poll_deadline(context, next)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(61));
    }
}
