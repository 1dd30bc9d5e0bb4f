//! What was revoked stays revoked in the process that takes over: the old one tells all that it knows, before the new one
//! accepts, and what comes later, until it has ended. And what the new one revokes meanwhile ends the old one's open streams.
//!
//! Marks of the revocation list are told, which are digests, and no token. The replay window would need tokens: it stays behind.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::access::revocations::{Passed, Record, Revocations};

/// Takes what is revoked in another process.
pub(crate) type Hear = Arc<dyn Fn(&[Record]) + Send + Sync>;

/// How often changes are told.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

/// For the other process to take what it is told, each time.
const TAKING_TIMEOUT: Duration = Duration::from_secs(10);

/// Before a record.
const RECORD: u8 = b'R';

/// All has been told that was known when the other process asked.
const COMPLETE: u8 = b'C';

/// The old process does not accept any more.
const LET_GO: u8 = b'L';

/// Records that are taken at once: a part of the list is copied only once for all of them that are in it.
const MAX_AT_ONCE: usize = 1024;

/// The side of the process that tells.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    passed: Passed,
}

impl Feed {
    /// One for a process that knows already what is in the list now.
    pub(crate) fn since(list: &Revocations) -> Self {
        Self { passed: Passed::all(list) }
    }

    /// Tells what changes, until it is over.
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

    /// Tells all that is known, and that it is all.
    pub(crate) async fn begin(
        &mut self,
        list: &Revocations,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        self.go_on(list, to).await?;
        write(to, &[COMPLETE]).await
    }

    /// Tells what has changed.
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

/// Says nothing new to the new process: an error says that it has ended.
pub(crate) async fn keep_alive(to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    write(to, &[COMPLETE]).await
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    timeout(TAKING_TIMEOUT, to.write_all(bytes)).await?
}

/// Says how far the old process has come, to whom it concerns. Dropped: it has ended, or says nothing that makes sense.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) is_complete: Option<oneshot::Sender<()>>,
    pub(crate) has_let_go: Option<oneshot::Sender<()>>,
}

/// Takes what the other process tells, until it ends; how many records that were.
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
