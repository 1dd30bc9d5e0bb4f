//! A server on 127.0.0.1 that can vanish and come back on the same port.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::wire::Wire;

type Handler = Arc<dyn Fn(Wire, usize) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A listener, its connections, and what serves them.
pub(crate) struct Listening {
    address: SocketAddr,
    handler: Handler,
    accepted: Arc<AtomicUsize>,
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Listening {
    /// Binds a free port and serves each connection, numbered from 1, with `handler`.
    pub(crate) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Wire, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("a free port"), handler)
    }

    /// The same on a listener that is there.
    pub(crate) fn on<F, R>(listener: TcpListener, handler: F) -> Self
    where
        F: Fn(Wire, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let server = Self {
            address: listener.local_addr().expect("a bound socket"),
            handler: Arc::new(move |wire, number| Box::pin(handler(wire, number))),
            accepted: Arc::default(),
            tasks: Arc::default(),
        };
        server.serve(listener);
        server
    }

    /// Where it listens, up or down.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many of its connections are served now.
    pub(crate) fn open(&self) -> usize {
        let tasks = self.tasks.lock().unwrap();
        tasks.iter().filter(|task| !task.is_finished()).count().saturating_sub(1)
    }

    /// Stops listening and drops every connection.
    pub(crate) fn down(&self) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
    }

    /// Listens again on the same port.
    pub(crate) async fn up(&self) {
        self.serve(bind_again(self.address).await);
    }

    fn serve(&self, listener: TcpListener) {
        let (handler, accepted, tasks) = (self.handler.clone(), self.accepted.clone(), self.tasks.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepted.fetch_add(1, Ordering::SeqCst) + 1;
                let connection = tokio::spawn(handler(Wire::new(stream), number));
                tasks.lock().unwrap().push(connection.abort_handle());
            }
        });
        self.tasks.lock().unwrap().push(accepting.abort_handle());
    }
}

/// Listens where another server has just gone.
pub(crate) async fn bind_again(address: SocketAddr) -> TcpListener {
    for _ in 0..200 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the port of a server that was down is taken");
}

/// Listeners on the same port of different addresses of this machine, which no other test has.
pub(crate) async fn neighbours<const N: usize>() -> [TcpListener; N] {
    static LAST: AtomicU32 = AtomicU32::new(0);
    // Another process may run the same tests.
    let network = u32::from_be_bytes([127, 64, 0, 0]) | (std::process::id() & 0x3fff) << 8;
    loop {
        let mut listeners: Vec<TcpListener> = Vec::with_capacity(N);
        while listeners.len() < N {
            let address = Ipv4Addr::from(network + LAST.fetch_add(1, Ordering::SeqCst) % 255 + 1);
            let port =
                listeners.first().map_or(0, |first| first.local_addr().expect("a bound socket").port());
            // Somebody may listen on this port of every address: then another one.
            let Ok(listener) = TcpListener::bind((address, port)).await else { break };
            listeners.push(listener);
        }
        if let Ok(all) = listeners.try_into() {
            return all;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.down();
    }
}
