//! A server on 127.0.0.1 that can vanish and come back on the same port.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
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
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
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
        for _ in 0..200 {
            if let Ok(listener) = TcpListener::bind(self.address).await {
                self.serve(listener);
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("the port of a server that was down is taken");
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

impl Drop for Listening {
    fn drop(&mut self) {
        self.down();
    }
}
