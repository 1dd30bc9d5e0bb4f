//! The asynchronous runtime that a server's connections share.

use tokio::runtime::{Builder, Runtime};

/// A runtime with this number of worker threads, which takes connections in the order in which they became ready.
///
/// A worker's own queue holds 256 tasks. What does not fit goes to a queue for all workers, which Tokio by default looks at once in some 60 tasks while
/// the own queue is never empty: with a thousand busy connections, those in it wait for hundreds of milliseconds while others are served many times
/// over (docs/performance.md). Here the common queue comes first. While nothing is in it, that costs one atomic load.
///
/// # Errors
///
/// Where threads or the event queue cannot be had from the system.
pub fn runtime(worker_threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(worker_threads).global_queue_interval(1).enable_all().build()
}
