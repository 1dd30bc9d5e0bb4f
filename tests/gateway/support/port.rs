//! Ports that are a test's own for as long as it needs them, whether or not somebody listens there.
//!
//! A socket that is bound and never listens keeps the system from giving the port to anybody who asks for a free one.
//! Whoever binds the very port can, as every server does that takes the port of one that has just ended
//! (`SO_REUSEADDR`).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

/// A port of an address of this machine.
pub(crate) struct Port {
    _held: TcpSocket,
    address: SocketAddr,
}

impl Port {
    /// A free one of 127.0.0.1.
    pub(crate) fn reserve() -> Self {
        Self::of((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port")
    }

    fn of(address: SocketAddr) -> std::io::Result<Self> {
        let held = TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind(address)?;
        let address = held.local_addr()?;
        Ok(Self { _held: held, address })
    }

    /// One that a server has just left, or is about to leave.
    pub(crate) async fn left(address: SocketAddr) -> Self {
        drop(listen(address).await);
        Self::of(address).expect("a port that nobody listens on")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens there; waits for another server of the test to be gone.
    pub(crate) async fn listen(&self) -> TcpListener {
        listen(self.address).await
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    for _ in 0..400 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("somebody listens on {address}");
}

/// The same port of different addresses of this machine.
pub(crate) fn neighbours<const N: usize>() -> [Port; N] {
    static LAST: AtomicU32 = AtomicU32::new(0);
    // Another process may run the same tests.
    let network = u32::from_be_bytes([127, 64, 0, 0]) | (std::process::id() & 0x3fff) << 8;
    loop {
        let mut ports: Vec<Port> = Vec::with_capacity(N);
        while ports.len() < N {
            let ip = Ipv4Addr::from(network + LAST.fetch_add(1, Ordering::SeqCst) % 255 + 1);
            let number = ports.first().map_or(0, |first| first.address.port());
            // Somebody may listen on this port of every address: then another one.
            let Ok(port) = Port::of((ip, number).into()) else { break };
            ports.push(port);
        }
        if let Ok(all) = ports.try_into() {
            return all;
        }
    }
}
