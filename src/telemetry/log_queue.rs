//! Log lines on their way to standard error. They wait in a bounded queue, and a separate thread writes them. So the
//! gateway goes on even if nobody reads the log. A line that has no room is dropped and counted.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::metrics::METRICS;

/// The most bytes that may wait to be written: some ten thousand lines.
const MAX_PENDING: usize = 4 * 1024 * 1024;

/// The number of bytes that are written at once. A pipe takes 64 KiB, so a reader is noticed soon.
const PIECE: usize = 8 * 1024;

/// The pause before another try, if standard error is non-blocking and full. Another process that shares it may have
/// made it non-blocking.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest times for which the end of the process waits for a reader of its log: without progress, and in all.
const STALL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// The lines that wait, and the counts of the others.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Notified when there is something to write.
    filled: Condvar,
    /// Notified when something has been written.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Tells whether some lines are being written right now.
    is_writing: bool,
    /// The total number of written bytes.
    written: u64,
    /// The number of lines that were dropped and are not reported yet.
    dropped: u64,
}

impl Queue {
    /// Takes one line, or drops it if there is no room.
    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.pending.len() + line.len() > MAX_PENDING {
            state.dropped += 1;
            METRICS.process.log_lines_dropped.inc();
        } else {
            state.pending.extend_from_slice(line);
            self.filled.notify_one();
        }
    }

    /// Writes all lines that come, for ever.
    fn run(&self, mut to: impl Write) {
        loop {
            let dropped = self.write_pending(&mut to);
            if dropped > 0 {
                warn!(lines = dropped, "log lines were lost: nobody read them in time");
            }
        }
    }

    /// Waits for lines and writes them all. Returns the number of lines that were dropped before. Returns 0 if
    /// some of these lines are lost too: their number is then added to the next result.
    fn write_pending(&self, to: &mut impl Write) -> u64 {
        let mut state = self.state();
        while state.pending.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let lines = std::mem::take(&mut state.pending);
        state.is_writing = true;
        drop(state);
        let lost = lines_in(self.write(to, &lines));
        METRICS.process.log_lines_dropped.inc_by(lost);
        let mut state = self.state();
        state.is_writing = false;
        state.dropped += lost;
        self.moved.notify_all();
        if lost == 0 { std::mem::take(&mut state.dropped) } else { 0 }
    }

    /// Writes lines. Returns the rest that could not be written, which nobody will ever read.
    fn write<'a>(&self, to: &mut impl Write, mut lines: &'a [u8]) -> &'a [u8] {
        while !lines.is_empty() {
            let piece = lines.get(..PIECE).unwrap_or(lines);
            match to.write(piece) {
                Ok(count @ 1..) => {
                    lines = lines.get(count..).unwrap_or_default();
                    self.state().written += count as u64;
                    self.moved.notify_all();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Ok(_) | Err(_) => break,
            }
        }
        lines
    }

    /// Waits until everything is written, as long as somebody reads. Returns true if everything was written.
    fn flush(&self) -> bool {
        let end = Instant::now() + PATIENCE;
        let mut state = self.state();
        while state.is_writing || !state.pending.is_empty() {
            let before = state.written;
            let patience = STALL.min(end.saturating_duration_since(Instant::now()));
            let is_stuck = |state: &mut State| {
                state.written == before && (state.is_writing || !state.pending.is_empty())
            };
            let waited = self.moved.wait_timeout_while(state, patience, is_stuck);
            let timed_out;
            (state, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            if timed_out.timed_out() {
                return false;
            }
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// The queue of this process, and the thread that empties it.
static QUEUE: LazyLock<Option<&'static Queue>> = LazyLock::new(|| {
    let queue: &'static Queue = Box::leak(Box::default());
    // This is not the standard library's own handle. Any thread that holds that handle while nobody reads would block
    // all others.
    let to = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
    std::thread::Builder::new().name("log".into()).spawn(move || queue.run(to)).ok()?;
    Some(queue)
});

/// The writer of log lines.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StandardError;

impl Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match *QUEUE {
            Some(queue) => queue.push(line),
            // The thread could not be started, so the line is written directly.
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for StandardError {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// Makes sure that the log is written before the process ends, if somebody reads it.
#[derive(Debug)]
#[must_use = "what was logged last is lost otherwise"]
pub struct LogEnd(());

impl LogEnd {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

impl Drop for LogEnd {
    fn drop(&mut self) {
        if let Some(queue) = *QUEUE {
            let _nobody_reads_it = queue.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    /// Takes as many bytes as it is given permission for.
    struct Reader {
        permitted: mpsc::Receiver<usize>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.permitted.recv() {
                Ok(0) => Err(ErrorKind::BrokenPipe.into()),
                Ok(count) => {
                    let count = count.min(bytes.len());
                    self.taken.lock().unwrap().extend_from_slice(&bytes[..count]);
                    Ok(count)
                }
                Err(_) => Err(ErrorKind::WouldBlock.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct World {
        queue: &'static Queue,
        permit: mpsc::Sender<usize>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl World {
        fn new() -> Self {
            let queue: &'static Queue = Box::leak(Box::default());
            let (permit, permitted) = mpsc::channel();
            let taken = Arc::<Mutex<Vec<u8>>>::default();
            let reader = Reader { permitted, taken: Arc::clone(&taken) };
            std::thread::spawn(move || queue.run(reader));
            Self { queue, permit, taken }
        }

        fn until(&self, is_so: impl Fn(&State) -> bool) {
            while !is_so(&self.queue.state()) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn all_of_it_is_written_in_its_order_however_little_is_taken_at_once() {
        let world = World::new();
        let lines: Vec<String> = (0..5000).map(|number| format!("line {number}\n")).collect();
        for line in &lines {
            world.queue.push(line.as_bytes());
        }
        for count in (1..2000).cycle().take(2000) {
            world.permit.send(count).unwrap();
        }
        assert!(world.queue.flush());
        assert_eq!(String::from_utf8(world.taken.lock().unwrap().clone()).unwrap(), lines.concat());
    }

    #[test]
    fn what_has_no_room_is_dropped_and_counted_and_nobody_waits() {
        let world = World::new();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        world.queue.push(&line);
        world.until(|state| state.is_writing);
        for _ in 0..MAX_PENDING / line.len() + 7 {
            world.queue.push(&line);
        }
        assert_eq!(world.queue.state().dropped, 7);
        assert!(!world.queue.flush(), "nobody reads");
        // One line, and then all that waited.
        for _ in 0..2 + MAX_PENDING / PIECE {
            world.permit.send(PIECE).unwrap();
        }
        assert!(world.queue.flush());
        assert_eq!(world.taken.lock().unwrap().len(), MAX_PENDING + line.len());
        world.until(|state| state.dropped == 0);
    }

    #[test]
    fn a_reader_who_has_gone_loses_what_was_for_it_and_another_one_gets_the_rest() {
        let world = World::new();
        world.queue.push(b"one\ntwo\n");
        world.permit.send(4).unwrap();
        world.permit.send(0).unwrap();
        world.until(|state| state.dropped == 1);
        world.queue.push(b"three\n");
        world.permit.send(PIECE).unwrap();
        assert!(world.queue.flush());
        assert_eq!(world.taken.lock().unwrap().as_slice(), b"one\nthree\n");
    }
}
