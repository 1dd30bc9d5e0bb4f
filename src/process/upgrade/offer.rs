//! The old process's side. It offers its listeners to one process at a time.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Take};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use crate::access::session_tables::SessionTables;
use crate::process::upgrade::descriptors::{self, Listening, Refusal, malformed};
use crate::process::upgrade::protocol::{MAX_WORDS, READY, REVOCATIONS};
use crate::process::upgrade::revocations::{self, Feed, Hear, Progress};
use crate::process::upgrade::socket::Place;

/// The pause before the next try if accepting has failed.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The longest time for the new process to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// The time between two looks at the socket's file.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The longest time for the new process to put its socket at the path.
const REPLACING_TIMEOUT: Duration = Duration::from_secs(2);
const REPLACING_INTERVAL: Duration = Duration::from_millis(10);

/// Everything that a process hands over.
pub(crate) struct Estate {
    pub(crate) listeners: Vec<Listening>,
    /// With what is revoked.
    pub(crate) memory: Arc<SessionTables>,
    /// Takes what is revoked elsewhere.
    pub(crate) hear: Hear,
    /// Gets a message when another process has the listeners and accepts connections.
    pub(crate) handed_over: oneshot::Sender<()>,
    /// Gets a message when no request is served here any more.
    pub(crate) is_drained: oneshot::Receiver<()>,
}

/// The process that takes over.
struct Heir {
    stream: OwnedWriteHalf,
    /// The messages from that process.
    words: BufReader<Take<OwnedReadHalf>>,
    /// The revocations for that process, if it has asked for them.
    feed: Option<Feed>,
}

/// Offers the listeners until another process has them. Then sends revocations to that process until nothing is served
/// here any more.
pub(crate) async fn offer(mut place: Place, estate: Estate) -> io::Result<()> {
    let Estate { listeners, memory, hear, handed_over, is_drained } = estate;
    place.take()?;
    let heir = loop {
        let stream = meet(&mut place).await;
        let giving = async {
            let given = timeout(READY_TIMEOUT, give(stream, &listeners, &memory)).await?;
            let Some(mut heir) = given? else { return Ok(None) };
            Ok(heir.is_in_place(&place).await?.then_some(heir))
        };
        match while_others_are_refused(&place.listener, giving).await {
            Ok(Some(heir)) => break heir,
            Ok(None) => warn!("the other process gave up; this one goes on"),
            Err::<_, io::Error>(error) => {
                warn!(%error, "the other process did not become ready; this one goes on");
            }
        }
    };
    let _ = handed_over.send(());
    drop((place, listeners));
    if let Err(error) = heir.exchange_to_the_end(&memory, hear, is_drained).await {
        warn!(%error, "the new process does not hear what is still revoked here");
    }
    Ok(())
}

/// Waits for a process that may have the listeners.
async fn meet(place: &mut Place) -> UnixStream {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&place.listener) => accepted,
            _ = looks.tick() => {
                match place.retake() {
                    Ok(false) => {}
                    Ok(true) => info!("the upgrade socket was gone, and is there again"),
                    Err(error) => tracing::debug!(%error, "the upgrade socket is gone"),
                }
                continue;
            }
        };
        // One cause is a lack of file descriptors. The next try may succeed.
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "another process could not be heard at the upgrade socket");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let own = rustix::process::geteuid().as_raw();
        if peer.uid() == own || peer.uid() == 0 {
            info!(process = peer.pid(), "another process asks for the listeners");
            return stream;
        }
        warn!(user = peer.uid(), "an upgrade by another user was refused");
        descriptors::refuse(stream, Refusal::User).await;
    }
}

async fn accept(socket: &UnixListener) -> io::Result<(UnixStream, UCred)> {
    let (stream, _) = socket.accept().await?;
    let peer = stream.peer_cred()?;
    Ok((stream, peer))
}

/// Does some work, and refuses all other processes that connect meanwhile. The work comes first, so that a process that
/// connects after the end of the last one is not refused because of that one.
async fn while_others_are_refused<T>(socket: &UnixListener, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => descriptors::refuse(stream, Refusal::Busy).await,
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

/// Gives the listeners to a new process, tells what is revoked, and waits until it is ready; `None`: it gave up.
async fn give(
    stream: UnixStream,
    listeners: &[Listening],
    memory: &SessionTables,
) -> io::Result<Option<Heir>> {
    descriptors::send(&stream, listeners).await?;
    let (words, stream) = stream.into_split();
    let words = BufReader::new(words.take(MAX_WORDS as u64));
    let mut heir = Heir { stream, words, feed: None };
    let mut ticks = interval(revocations::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut line = String::new();
    loop {
        let length = tokio::select! {
            // If the other branch wins, `line` keeps the part that was already read.
            length = heir.words.read_line(&mut line) => length?,
            _ = ticks.tick() => {
                heir.tell(memory).await?;
                continue;
            }
        };
        match (length, line.trim_end()) {
            (0, _) => return Ok(None),
            (_, REVOCATIONS) => {
                let feed = heir.feed.insert(Feed::default());
                feed.begin(&memory.revocations, &mut heir.stream).await?;
            }
            (_, READY) => return Ok(Some(heir)),
            _ => return Err(malformed()),
        }
        line.clear();
    }
}

impl Heir {
    /// Tells the new process that it has the listeners for itself, and waits until its socket is at the path. Returns
    /// false if it ended before. This process keeps its listeners until then.
    async fn is_in_place(&mut self, place: &Place) -> io::Result<bool> {
        if self.feed.is_some() {
            revocations::let_go(&mut self.stream).await?;
        }
        let end = Instant::now() + REPLACING_TIMEOUT;
        let mut says_more = true;
        while place.is_taken() && Instant::now() < end {
            tokio::select! {
                said = self.words.fill_buf(), if says_more => {
                    // An older version closes its sending side, but lives. It still accepts messages.
                    if said?.is_empty() && revocations::keep_alive(&mut self.stream).await.is_err() {
                        return Ok(false);
                    }
                    says_more = false;
                }
                () = sleep(REPLACING_INTERVAL) => {}
            }
        }
        Ok(true)
    }

    async fn tell(&mut self, memory: &SessionTables) -> io::Result<()> {
        match &mut self.feed {
            Some(feed) => feed.go_on(&memory.revocations, &mut self.stream).await,
            None => Ok(()),
        }
    }

    /// Sends revocations to the new process, and takes its revocations, until nothing is served here any more.
    async fn exchange_to_the_end(
        self,
        memory: &SessionTables,
        hear: Hear,
        is_drained: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let Self { mut stream, mut words, feed: Some(feed) } = self else { return Ok(()) };
        // From now on, the size of its messages has no limit.
        words.get_mut().set_limit(u64::MAX);
        tokio::select! {
            told = feed.keep_on(&memory.revocations, &mut stream, revocations::INTERVAL, is_drained) => told,
            // The end of its messages is not an error, because an older version sends none.
            Err(error) = revocations::follow(words, Progress::default(), move |records| hear(records)) => Err(error),
        }
    }
}
