//! The asynchronous runtime that a server's connections share.

use tokio::runtime::{Builder, Runtime};

/// A worker looks at the common queue in every third turn.
const COMMON_QUEUE_INTERVAL: u32 = 3;

/// A runtime with this number of worker threads that gives connections about the same share of them.
///
/// A worker's own queue holds 256 tasks. What does not fit goes to a queue for all workers, which Tokio by default looks at once in some 60 turns while
/// the own queue is never empty: with a thousand busy connections, those in it wait for most of a second while others are served many times over.
/// Looking there first in every turn would be as bad for those in the own queue. docs/performance.md has the figures.
///
/// # Errors
///
/// Where threads or the event queue cannot be had from the system.
pub fn runtime(worker_threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(worker_threads)
        .global_queue_interval(COMMON_QUEUE_INTERVAL)
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use tokio::task::JoinSet;

    use super::*;

    /// More than a worker's own queue holds.
    const TASKS: usize = 1000;
    const TURNS: usize = 1_000_000;

    /// The turns of each task when all always want one; the fewest first.
    fn turns(worker_threads: usize) -> Vec<usize> {
        let turns: Arc<Vec<AtomicUsize>> = Arc::new((0..TASKS).map(|_| AtomicUsize::new(0)).collect());
        let all = Arc::new(AtomicUsize::new(0));
        let spawn = |number: usize| {
            let (turns, all) = (Arc::clone(&turns), Arc::clone(&all));
            poll_fn(move |context| {
                if all.fetch_add(1, Ordering::Relaxed) >= TURNS {
                    return Poll::Ready(());
                }
                turns[number].fetch_add(1, Ordering::Relaxed);
                context.waker().wake_by_ref();
                Poll::Pending
            })
        };
        runtime(worker_threads).unwrap().block_on(async {
            (0..TASKS).map(spawn).collect::<JoinSet<()>>().join_all().await;
        });
        let mut turns: Vec<_> = turns.iter().map(|turns| turns.load(Ordering::Relaxed)).collect();
        turns.sort_unstable();
        turns
    }

    #[test]
    fn one_worker_gives_all_about_the_same() {
        let fewest = turns(1)[0];
        assert!(fewest >= TURNS / TASKS / 2, "{fewest} turns of {}", TURNS / TASKS);
    }

    #[test]
    fn several_workers_pass_nobody_over() {
        let fewest = turns(2)[0];
        assert!(fewest >= TURNS / TASKS / 10, "{fewest} turns of {}", TURNS / TASKS);
    }
}
