use tokio::task::spawn_blocking;

use super::*;
use crate::access::revocations::{Mark, Revocations};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_change_hands_once_the_new_process_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upgrade.sock");
    assert!(Inherited::ask(&path).unwrap().is_none());
    let listeners = listening();
    let addresses = addresses(&listeners);
    let (handed_over, mut is_handed_over) = oneshot::channel();
    let (drained, is_drained) = oneshot::channel();
    let memory = Arc::new(Memory::new(16, NOW));
    let revoke = |sid: &str| memory.revocations.revoke(Mark::session(0, sid), false, NOW + 60, NOW);
    for number in 0..3000 {
        revoke(&number.to_string());
    }
    let estate = Estate { listeners, memory: Arc::clone(&memory), handed_over, is_drained };
    tokio::spawn(run(Some(path.clone()), None, estate));
    let ask = move || loop {
        if let Some(inherited) = Inherited::ask(&path).unwrap() {
            return inherited;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let gives_up = spawn_blocking(ask.clone()).await.unwrap();
    drop(gives_up);
    let mut inherited = spawn_blocking(ask).await.unwrap();
    assert!(is_handed_over.try_recv().is_err());
    assert!(inherited.take(Purpose::Admin, addresses[0]).is_none());
    let public = inherited.take(Purpose::Public, addresses[0]).unwrap();
    assert!(inherited.take(Purpose::Public, addresses[0]).is_none());
    let list = Arc::new(Revocations::default());
    let taken = Arc::clone(&list);
    let successor = inherited.follow(move |records| taken.take(records, NOW)).await.unwrap();
    assert_eq!(list.len(), 3000, "before it accepts");
    let is_revoked = |sid: &str| list.of_session(Mark::session(0, sid), NOW).is_some();
    revoke("while it starts");
    until(|| is_revoked("while it starts")).await;
    successor.ready().await.unwrap();
    is_handed_over.await.unwrap();
    revoke("while the old one drains");
    until(|| is_revoked("while the old one drains")).await;
    revoke("at the very end");
    drained.send(()).unwrap();
    until(|| is_revoked("at the very end")).await;
    let client = std::net::TcpStream::connect(addresses[0]).unwrap();
    public.set_nonblocking(false).unwrap();
    assert_eq!(public.accept().unwrap().1, client.local_addr().unwrap());
}

#[tokio::test]
async fn the_sockets_file_comes_and_goes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upgrade.sock");
    let (listener, file) = bind(&path, false).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(bind(&path, false).err().map(|error| error.kind()), Some(ErrorKind::AddrInUse));
    drop(listener);
    let (_listener, _file) = bind(&path, false).expect("the old one is only a file");
    drop(file);
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
        let inherited = spawn_blocking(move || Inherited::ask(&path)).await.unwrap().unwrap().unwrap();
        let successor = inherited.follow(|_| panic!("nothing is told")).await.unwrap();
        successor.ready().await.unwrap();
        assert_eq!(&old.join().unwrap(), b"ready\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_does_not_ask_for_revocations_is_given_the_listeners_all_the_same() {
    use std::io::{Read, Write};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upgrade.sock");
    let (handed_over, is_handed_over) = oneshot::channel();
    let (_drained, is_drained) = oneshot::channel();
    let memory = Arc::new(Memory::new(16, NOW));
    let estate = Estate { listeners: listening(), memory, handed_over, is_drained };
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
    assert_eq!(new.await.unwrap(), b"portcullis upgrade 1\npublic\nadmin\ncan revocations 1");
}
