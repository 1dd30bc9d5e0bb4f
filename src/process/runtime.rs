//! The asynchronous runtime that a server's connections share.

use tokio::runtime::{Builder, Runtime};

/// A worker looks at the common queue in every third turn.
const COMMON_QUEUE_INTERVAL: u32 = 3;

/// Makes a runtime with this number of worker threads. It gives all connections about the same share of the threads.
///
/// A worker's own queue holds 256 tasks. Other tasks go to a queue for all workers. By default, Tokio looks at that
/// queue about once in 60 turns while the own queue is not empty. So with a thousand busy connections, the connections
/// in the common queue wait for most of a second, while others are served many times. If workers looked at the common
/// queue first in every turn, the connections in their own queues would wait as long. docs/performance.md has the
/// figures.
///
/// # Errors
///
/// The system refuses the threads or the event queue.
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

    /// This is more than a worker's own queue holds.
    const TASKS: usize = 1000;
    const TURNS: usize = 1_000_000;

    /// The number of turns that each task gets if all tasks always want one, in ascending order.
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
