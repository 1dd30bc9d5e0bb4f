use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::access::numbers::testing::PROVIDER;
use crate::access::revocations::{EndedBy, Mark, Revocations};
use crate::access::session_tables::SessionTables;
use crate::process::upgrade::descriptors::{self, Greeting, Listening, Purpose, Refusal};
use crate::process::upgrade::handover::run;
use crate::process::upgrade::inherit::{AskError, Handover, Inherited};
use crate::process::upgrade::offer::Estate;
use crate::process::upgrade::revocations::Hear;

const NOW: u64 = 1_800_000_000;

async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect("in time");
}

fn listening() -> Vec<Listening> {
    [Purpose::Public, Purpose::Admin]
        .map(|purpose| (purpose, TcpListener::bind("127.0.0.1:0").unwrap()))
        .into()
}

fn addresses(listeners: &[Listening]) -> Vec<SocketAddr> {
    listeners.iter().map(|(_, listener)| listener.local_addr().unwrap()).collect()
}

/// A process with a revocation list of its own.
#[derive(Clone)]
struct Process(Arc<SessionTables>);

impl Process {
    fn new() -> Self {
        Self(Arc::new(SessionTables::new(16, NOW)))
    }

    fn list(&self) -> &Revocations {
        &self.0.revocations
    }

    fn hear(&self) -> Hear {
        let memory = Arc::clone(&self.0);
        Arc::new(move |records| memory.revocations.take(records, NOW))
    }

    fn revoke(&self, sid: &str) {
        self.list().revoke(Mark::session(PROVIDER, sid), EndedBy::Revocation, NOW + 60, NOW);
    }

    fn knows(&self, sid: &str) -> bool {
        self.list().of_session(Mark::session(PROVIDER, sid), NOW).is_some()
    }

    fn estate(&self, listeners: Vec<Listening>) -> (Estate, oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (handed_over, is_handed_over) = oneshot::channel();
        let (drained, is_drained) = oneshot::channel();
        let (memory, hear) = (Arc::clone(&self.0), self.hear());
        (Estate { listeners, memory, hear, handed_over, is_drained }, is_handed_over, drained)
    }
}

/// Asks until somebody is there.
async fn ask(path: &std::path::Path) -> Inherited {
    let path = path.to_owned();
    let asking = move || loop {
        if let Some(inherited) = Inherited::ask(&path).unwrap() {
            return inherited;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    spawn_blocking(asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_change_hands_once_the_new_process_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upgrade.sock");
    assert!(Inherited::ask(&path).unwrap().is_none());
    let listeners = listening();
    let addresses = addresses(&listeners);
    let (old, new) = (Process::new(), Process::new());
    for number in 0..3000 {
        old.revoke(&number.to_string());
    }
    let (estate, mut is_handed_over, drained) = old.estate(listeners);
    tokio::spawn(run(Some(path.clone()), None, estate));
    let gives_up = ask(&path).await;
    drop(gives_up);
    // The old one may not have noticed yet.
    let mut inherited = ask_patiently(&path).await;
    assert!(is_handed_over.try_recv().is_err());
    assert!(inherited.take(Purpose::Admin, addresses[0]).is_none());
    let public = inherited.take(Purpose::Public, addresses[0]).unwrap();
    assert!(inherited.take(Purpose::Public, addresses[0]).is_none());
    assert_eq!(inherited.left_over().collect::<Vec<_>>(), addresses[1..]);
    let successor = inherited.follow(&new.0, new.hear()).await.unwrap();
    assert_eq!(new.list().len(), 3000, "before it accepts");
    old.revoke("while it starts");
    until(|| new.knows("while it starts")).await;
    let (estate, ..) = new.estate(Vec::new());
    tokio::spawn(run(Some(path.clone()), Some(successor), estate));
    is_handed_over.await.unwrap();
    old.revoke("while the old one drains");
    until(|| new.knows("while the old one drains")).await;
    // And the other way round, for the streams that are open there.
    new.revoke("at the new one");
    until(|| old.knows("at the new one")).await;
    assert!(!old.knows("never"));
    old.revoke("at the very end");
    drained.send(()).unwrap();
    until(|| new.knows("at the very end")).await;
    let client = std::net::TcpStream::connect(addresses[0]).unwrap();
    public.set_nonblocking(false).unwrap();
    assert_eq!(public.accept().unwrap().1, client.local_addr().unwrap());
    // The next one finds the new one, which waits for nobody else.
    assert_eq!(ask(&path).await.left_over().count(), 0);
}

/// The old process does not run between the two connections, as on a busy machine.
#[tokio::test]
async fn a_process_that_has_gone_keeps_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upgrade.sock");
    let (estate, ..) = Process::new().estate(listening());
    tokio::spawn(run(Some(path.clone()), None, estate));
    until(|| path.exists()).await;
    for _ in 0..20 {
        drop(UnixStream::connect(&path).unwrap());
        let next = UnixStream::connect(&path).unwrap();
        next.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let greeting = spawn_blocking(move || descriptors::receive(&next).unwrap().map(|_| ())).await;
        assert_eq!(greeting.unwrap(), Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_at_a_time_is_given_the_listeners() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upgrade.sock");
    let old = Process::new();
    let (estate, is_handed_over, _drained) = old.estate(listening());
    tokio::spawn(run(Some(path.clone()), None, estate));
    let first = ask(&path).await;
    for _ in 0..3 {
        let path = path.clone();
        let second = spawn_blocking(move || Inherited::ask(&path)).await.unwrap();
        assert!(matches!(second, Err(AskError::Busy(_))), "{second:?}");
    }
    let new = Process::new();
    let successor = first.follow(&new.0, new.hear()).await.unwrap();
    let (estate, ..) = new.estate(Vec::new());
    tokio::spawn(run(Some(path.clone()), Some(successor), estate));
    is_handed_over.await.unwrap();
    // At no moment is nobody there.
    let there = loop {
        let path = path.clone();
        match spawn_blocking(move || Inherited::ask(&path)).await.unwrap() {
            Ok(Some(there)) => break there,
            Err(AskError::Busy(_) | AskError::HandedOver(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(there.left_over().count(), 0, "the new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_ends_at_the_last_moment_leaves_the_old_process_where_it_is() {
    use std::io::Write;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upgrade.sock");
    let old = Process::new();
    let (estate, mut is_handed_over, _drained) = old.estate(listening());
    tokio::spawn(run(Some(path.clone()), None, estate));
    for _ in 0..3 {
        let path = path.clone();
        // It says that it accepts, and is killed in that moment.
        let says_so = move || {
            // Nobody may be there yet.
            let Ok(mut stream) = UnixStream::connect(&path) else { return false };
            let greeting = descriptors::receive(&stream).unwrap();
            let _ = stream.write_all(b"revocations 1\nready\n");
            greeting.is_ok()
        };
        until_ok(says_so).await;
        assert_eq!(ask_patiently(&directory.path().join("upgrade.sock")).await.left_over().count(), 2);
    }
    assert!(is_handed_over.try_recv().is_err());
}

async fn until_ok(act: impl Fn() -> bool + Send + Clone + 'static) {
    let acting = async {
        while !spawn_blocking(act.clone()).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), acting).await.expect("in time");
}

/// Asks until nobody else does.
async fn ask_patiently(path: &std::path::Path) -> Inherited {
    let asking = async {
        loop {
            let path = path.to_owned();
            match spawn_blocking(move || Inherited::ask(&path)).await.unwrap() {
                Ok(Some(inherited)) => return inherited,
                Err(AskError::Busy(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(Duration::from_secs(20), asking).await.expect("in time")
}

/// A process that gives a listener and then does this with the connection; again and again, if it lives.
fn gives(path: &std::path::Path, lives: bool, then: impl Fn(UnixStream) + Send + 'static) {
    let socket = std::os::unix::net::UnixListener::bind(path).unwrap();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        loop {
            let (stream, _) = socket.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let stream = runtime.block_on(async {
                let stream = tokio::net::UnixStream::from_std(stream).unwrap();
                // Who looks whether somebody is there may have gone.
                let _ = descriptors::send(&stream, &listening()).await;
                stream.into_std().unwrap()
            });
            stream.set_nonblocking(false).unwrap();
            if !lives {
                std::fs::remove_file(&path).unwrap();
                drop(socket);
                return then(stream);
            }
            then(stream);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_lost_sight_of_is_succeeded_if_it_has_ended_and_not_if_it_goes_on() {
    use std::io::Read;
    /// Takes this from the new process, and says no more.
    fn until(mut stream: UnixStream, word: &str) {
        let mut said = vec![0; word.len()];
        let _ = stream.read_exact(&mut said);
        assert!(said == word.as_bytes() || said.iter().all(|byte| *byte == 0), "{said:?}");
    }
    for word in ["", "revocations 1\n"] {
        for lives in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("upgrade.sock");
            gives(&path, lives, move |stream| until(stream, word));
            let new = Process::new();
            let followed = ask(&path).await.follow(&new.0, new.hear()).await;
            assert_eq!(followed.is_err(), lives, "{word:?}");
            let Ok(successor) = followed else { continue };
            let (estate, ..) = new.estate(listening());
            tokio::spawn(run(Some(path.clone()), Some(successor), estate));
            assert_eq!(ask(&path).await.left_over().count(), 2, "it serves, and can be asked");
        }
    }
    // The same where it is only noticed at the end.
    for lives in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upgrade.sock");
        gives(&path, lives, |mut stream| {
            use std::io::Write;
            let mut said = [0; "revocations 1\nready\n".len()];
            // All is told that is revoked: nothing.
            if stream.read_exact(&mut said[..14]).is_ok() && stream.write_all(b"C").is_ok() {
                let _ = stream.read_exact(&mut said[14..]);
            }
        });
        let new = Process::new();
        let successor = ask(&path).await.follow(&new.0, new.hear()).await.unwrap();
        let (estate, ..) = new.estate(listening());
        let running = tokio::spawn(run(Some(path.clone()), Some(successor), estate));
        if lives {
            assert!(running.await.unwrap().is_err());
            assert!(!path.with_extension("sock.new").exists(), "it leaves nothing");
        } else {
            assert_eq!(ask(&path).await.left_over().count(), 2);
        }
    }
}

#[tokio::test]
async fn why_there_is_nothing_is_told() {
    for refusal in [Refusal::Busy, Refusal::User] {
        let (old, new) = tokio::net::UnixStream::pair().unwrap();
        descriptors::refuse(old, refusal).await;
        let new = new.into_std().unwrap();
        new.set_nonblocking(false).unwrap();
        let told = spawn_blocking(move || descriptors::receive(&new)).await.unwrap().unwrap();
        assert_eq!(told.err(), Some(refusal));
    }
    for (said, kind) in [
        ("", std::io::ErrorKind::UnexpectedEof),
        ("portcullis upgrade refused\nwhy ever", std::io::ErrorKind::InvalidData),
        ("portcullis upgrade 2\npublic", std::io::ErrorKind::InvalidData),
        ("portcullis upgrade 1\npublic", std::io::ErrorKind::InvalidData),
    ] {
        let (mut old, new) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut old, said.as_bytes()).unwrap();
        drop(old);
        let told: std::io::Result<Result<Greeting, Refusal>> = descriptors::receive(&new);
        assert_eq!(told.err().map(|error| error.kind()), Some(kind), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_process_that_cannot_tell_or_can_do_more_is_taken_over_all_the_same() {
    use std::io::{Read, Write};
    let directory = tempfile::tempdir().unwrap();
    for (number, abilities) in ["", "\ncan fly 7"].into_iter().enumerate() {
        let path = directory.path().join(number.to_string());
        let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let old = std::thread::spawn(move || {
            let (mut stream, _) = socket.accept().unwrap();
            stream.write_all(format!("portcullis upgrade 1{abilities}").as_bytes()).unwrap();
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).unwrap();
            answer
        });
        let inherited = ask(&path).await;
        let new = Process::new();
        let hear = Arc::new(|_: &[_]| panic!("nothing is told"));
        let successor = inherited.follow(&new.0, hear).await.unwrap();
        assert!(matches!(successor.ready().await, Ok(Handover::Alone)), "it has no more to say");
        assert_eq!(&old.join().unwrap(), b"ready\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_does_not_ask_for_revocations_is_given_the_listeners_all_the_same() {
    use std::io::{Read, Write};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upgrade.sock");
    let (estate, is_handed_over, _drained) = Process::new().estate(listening());
    tokio::spawn(run(Some(path.clone()), None, estate));
    until(|| path.exists()).await;
    let new = spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        let mut greeting = [0; 20];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(b"ready\n").unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        [greeting.to_vec(), rest].concat()
    });
    is_handed_over.await.unwrap();
    assert_eq!(
        new.await.unwrap(),
        b"portcullis upgrade 1\npublic\nadmin\ncan revocations 1\ncan hear revocations 1"
    );
}
