//! A port whose queue of connections is full: nobody who connects gets an answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// A port where a connection never comes about, since those that nobody accepts are already too many.
pub(crate) struct Deaf {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
    pub(crate) address: SocketAddr,
}

impl Deaf {
    pub(crate) async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(connected) = timeout(Duration::from_secs(1), TcpStream::connect(address)).await {
            waiting.push(connected.expect("somebody listens"));
            assert!(waiting.len() < 100, "there is always room");
        }
        Self { _listener: listener, _waiting: waiting, address }
    }
}
