//! The old process's side: it offers its listeners, to one process at a time.

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

/// Before another try, where nobody can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// For the new process to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// The time between two looks at the socket's file.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// For the new process to take the socket's place.
const REPLACING_TIMEOUT: Duration = Duration::from_secs(2);
const REPLACING_INTERVAL: Duration = Duration::from_millis(10);

/// Everything that a process has to hand over.
pub(crate) struct Estate {
    pub(crate) listeners: Vec<Listening>,
    /// With what is revoked.
    pub(crate) memory: Arc<SessionTables>,
    /// Takes what is revoked elsewhere.
    pub(crate) hear: Hear,
    /// Told once another process has the listeners and accepts.
    pub(crate) handed_over: oneshot::Sender<()>,
    /// Ready once no request is served here any more.
    pub(crate) is_drained: oneshot::Receiver<()>,
}

/// Another process that has taken over.
struct Heir {
    stream: OwnedWriteHalf,
    /// The words that it says.
    words: BufReader<Take<OwnedReadHalf>>,
    /// It asked what is revoked.
    feed: Option<Feed>,
}

/// Offers the listeners until another process has them, and then tells that one what is revoked until nothing is served
/// here.
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
        // No descriptor is left, for instance: it may be otherwise the next time.
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

/// Does something during which no other process may come, and tells those that do.
async fn while_others_are_refused<T>(socket: &UnixListener, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
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
            // What was read of a line stays in it where this is given up.
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
    /// Tells it that it has the listeners for itself, and waits until it has taken the socket's place. `false`: it has
    /// ended at the last moment. Nothing is let go of before.
    async fn is_in_place(&mut self, place: &Place) -> io::Result<bool> {
        if self.feed.is_some() {
            revocations::let_go(&mut self.stream).await?;
        }
        let end = Instant::now() + REPLACING_TIMEOUT;
        let mut says_more = true;
        while place.is_taken() && Instant::now() < end {
            tokio::select! {
                said = self.words.fill_buf(), if says_more => {
                    // An older version says no more, and lives: it still takes what it is told.
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

    /// Tells what is revoked here, and takes what is revoked there, until nothing is served here any more.
    async fn exchange_to_the_end(
        self,
        memory: &SessionTables,
        hear: Hear,
        is_drained: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let Self { mut stream, mut words, feed: Some(feed) } = self else { return Ok(()) };
        // From now on it says as much as it has to.
        words.get_mut().set_limit(u64::MAX);
        tokio::select! {
            told = feed.keep_on(&memory.revocations, &mut stream, revocations::INTERVAL, is_drained) => told,
            // Its end is not this one's: it may be a version that says nothing.
            Err(error) = revocations::follow(words, Progress::default(), move |records| hear(records)) => Err(error),
        }
    }
}
