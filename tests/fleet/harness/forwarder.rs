//! A TCP forwarder: the address of a service whose nodes change, and a network that fails at a chosen moment.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::listening::Listening;
use crate::support::wire::Wire;

struct Way {
    target: SocketAddr,
    /// The answer to the next request with these bytes is lost.
    loses: Option<Vec<u8>>,
    lost: usize,
}

/// A forwarder on a free port.
pub(crate) struct Forwarder {
    listening: Listening,
    way: Arc<Mutex<Way>>,
}

impl Forwarder {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let way = Arc::new(Mutex::new(Way { target, loses: None, lost: 0 }));
        let shared = Arc::clone(&way);
        let listening = Listening::start(move |wire, _| forward(wire, Arc::clone(&shared))).await;
        Self { listening, way }
    }

    /// Returns the value of `shared_state.url`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.listening.address())
    }

    /// Leads new connections to another node.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.way.lock().unwrap().target = target;
    }

    /// Ends all connections, and accepts no more.
    pub(crate) fn cut(&self) {
        self.listening.down();
    }

    /// Accepts connections again.
    pub(crate) async fn mend(&self) {
        self.listening.up().await;
    }

    /// Loses the answer to the next request that has these bytes, together with its connection. The engine has carried
    /// the request out by then.
    pub(crate) fn lose_answer_to(&self, bytes: &str) {
        self.way.lock().unwrap().loses = Some(bytes.as_bytes().to_vec());
    }

    /// Returns the number of answers that were lost so.
    pub(crate) fn lost(&self) -> usize {
        self.way.lock().unwrap().lost
    }
}

async fn forward(wire: Wire, way: Arc<Mutex<Way>>) {
    let target = way.lock().unwrap().target;
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    far.set_nodelay(true).expect("a live socket");
    let mut near = wire.stream;
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            count = near.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                let bytes = &asked[..count];
                let is_to_be_lost = is_to_be_lost(&way, bytes);
                if far.write_all(bytes).await.is_err() {
                    return;
                }
                if is_to_be_lost {
                    // The engine's answer says that it has done what was asked.
                    let _ = tokio::time::timeout(Duration::from_secs(1), far.read(&mut answered)).await;
                    way.lock().unwrap().lost += 1;
                    return;
                }
            }
            count = far.read(&mut answered) => {
                let Ok(count @ 1..) = count else { return };
                if near.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn is_to_be_lost(way: &Mutex<Way>, bytes: &[u8]) -> bool {
    let mut way = way.lock().unwrap();
    let is_wanted = |wanted: &Vec<u8>| bytes.windows(wanted.len()).any(|window| window == &wanted[..]);
    way.loses.take_if(|wanted| is_wanted(wanted)).is_some()
}
