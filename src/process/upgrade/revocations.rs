//! Keeps revocations during an upgrade. The old process sends all its revocations before the new one accepts
//! connections, and later revocations until it ends. The new process sends its own revocations meanwhile, so that the
//! old process can end its open streams.
//!
//! The messages contain marks of the revocation list. Marks are digests, and contain no token. The entries of the
//! replay window would need tokens, so they are not sent.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::access::revocations::{Passed, Record, Revocations};

/// The function that takes the revocations of another process.
pub(crate) type Hear = Arc<dyn Fn(&[Record]) + Send + Sync>;

/// The time between two messages about changes.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

/// The longest time for the other process to take one message.
const TAKING_TIMEOUT: Duration = Duration::from_secs(10);

/// The byte before a record.
const RECORD: u8 = b'R';

/// The byte after all revocations that were known when the other process asked.
const COMPLETE: u8 = b'C';

/// The byte that says that the old process no longer accepts connections.
const LET_GO: u8 = b'L';

/// The largest number of records that are taken together. A part of the list is copied only once for all its records
/// among them.
const MAX_AT_ONCE: usize = 1024;

/// The sender's side of the messages.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    passed: Passed,
}

impl Feed {
    /// Makes a sender for a process that already knows the present entries of the list.
    pub(crate) fn since(list: &Revocations) -> Self {
        Self { passed: Passed::all(list) }
    }

    /// Sends the changes regularly, until `is_over` is ready.
    pub(crate) async fn keep_on(
        mut self,
        list: &Revocations,
        to: &mut (impl AsyncWrite + Unpin),
        pause: Duration,
        mut is_over: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut is_over => return self.go_on(list, to).await,
                _ = ticks.tick() => self.go_on(list, to).await?,
            }
        }
    }

    /// Sends all known revocations, and then the byte that says that they are complete.
    pub(crate) async fn begin(
        &mut self,
        list: &Revocations,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        self.go_on(list, to).await?;
        write(to, &[COMPLETE]).await
    }

    /// Sends the changes since the last message.
    pub(crate) async fn go_on(
        &mut self,
        list: &Revocations,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        for records in self.passed.changes(list) {
            let mut bytes = Vec::with_capacity(records.len() * (1 + Record::SIZE));
            for record in &records {
                bytes.push(RECORD);
                record.write(&mut bytes);
            }
            write(to, &bytes).await?;
        }
        Ok(())
    }
}

/// Tells the new process that it has the listeners for itself.
pub(crate) async fn let_go(to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    write(to, &[LET_GO]).await
}

/// Sends a message without news. An error means that the new process has ended.
pub(crate) async fn keep_alive(to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    write(to, &[COMPLETE]).await
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    timeout(TAKING_TIMEOUT, to.write_all(bytes)).await?
}

/// The progress of the old process, for those who wait for it. If it is dropped, the old process has ended or has sent
/// an invalid message.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) is_complete: Option<oneshot::Sender<()>>,
    pub(crate) has_let_go: Option<oneshot::Sender<()>>,
}

/// Takes the revocations from the other process until that one ends. Returns their number.
pub(crate) async fn follow(
    old: impl AsyncRead + Unpin,
    progress: Progress,
    take: impl Fn(&[Record]),
) -> io::Result<usize> {
    let mut old = BufReader::new(old);
    let Progress { mut is_complete, mut has_let_go } = progress;
    let (mut records, mut count) = (Vec::new(), 0);
    loop {
        if !records.is_empty() && (records.len() >= MAX_AT_ONCE || old.buffer().len() <= Record::SIZE) {
            take(&records);
            count += records.len();
            records.clear();
        }
        let told = match old.read_u8().await {
            Ok(RECORD) => {
                let mut bytes = [0; Record::SIZE];
                old.read_exact(&mut bytes).await?;
                records.push(Record::read(&bytes).ok_or(ErrorKind::InvalidData)?);
                continue;
            }
            Ok(COMPLETE) => &mut is_complete,
            Ok(LET_GO) => &mut has_let_go,
            Ok(_) => return Err(ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(count),
            Err(error) => return Err(error),
        };
        take(&records);
        count += records.len();
        records.clear();
        if let Some(told) = told.take() {
            let _nobody_waits = told.send(());
        }
    }
}
