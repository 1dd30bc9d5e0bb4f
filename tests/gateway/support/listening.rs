//! A server on 127.0.0.1 that can vanish and come back on the same port.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::port::Port;
use super::wire::Wire;

type Handler = Arc<dyn Fn(Wire, usize) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A listener, its connections, and what serves them.
pub(crate) struct Listening {
    port: Port,
    handler: Handler,
    accepted: Arc<AtomicUsize>,
    tasks: Arc<Mutex<Tasks>>,
}

/// The tasks that accept connections and serve them.
#[derive(Default)]
struct Tasks {
    /// True once it has gone down. A connection that was accepted before and comes late is not served. When it is up
    /// again, it has another flag.
    is_down: Arc<AtomicBool>,
    handles: Vec<AbortHandle>,
}

impl Listening {
    /// Binds a free port and serves each connection, numbered from 1, with `handler`.
    pub(crate) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Wire, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::at(Port::reserve(), handler).await
    }

    /// The same at a port that is reserved already.
    pub(crate) async fn at<F, R>(port: Port, handler: F) -> Self
    where
        F: Fn(Wire, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = port.listen().await;
        let server = Self {
            port,
            handler: Arc::new(move |wire, number| Box::pin(handler(wire, number))),
            accepted: Arc::default(),
            tasks: Arc::default(),
        };
        server.serve(listener);
        server
    }

    /// Returns its address, up or down.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Returns the number of connections that it has accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of its connections that are served now.
    pub(crate) fn open(&self) -> usize {
        let tasks = self.tasks.lock().unwrap();
        tasks.handles.iter().filter(|task| !task.is_finished()).count().saturating_sub(1)
    }

    /// Stops listening and drops every connection.
    pub(crate) fn down(&self) {
        let mut tasks = self.tasks.lock().unwrap();
        tasks.is_down.store(true, Ordering::SeqCst);
        for task in tasks.handles.drain(..) {
            task.abort();
        }
    }

    /// Listens again on the same port.
    pub(crate) async fn up(&self) {
        self.serve(self.port.listen().await);
    }

    fn serve(&self, listener: TcpListener) {
        let (handler, accepted, shared) = (self.handler.clone(), self.accepted.clone(), self.tasks.clone());
        let mut tasks = self.tasks.lock().unwrap();
        tasks.is_down = Arc::default();
        let is_down = Arc::clone(&tasks.is_down);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Locked until it is entered, so that it is either served and found by `down`, or not served.
                let mut tasks = shared.lock().unwrap();
                if is_down.load(Ordering::SeqCst) {
                    return;
                }
                let number = accepted.fetch_add(1, Ordering::SeqCst) + 1;
                let connection = tokio::spawn(handler(Wire::of(stream, Arc::clone(&is_down)), number));
                tasks.handles.push(connection.abort_handle());
            }
        });
        tasks.handles.push(accepting.abort_handle());
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.down();
    }
}
