//! One line of a table: a proxy, the requests that it gets, and how it is measured.

use std::sync::Arc;

use crate::issuer::Error;
use crate::load::{Connection, Request, Requests, runtime, wait_until_served};
use crate::measurement::{self, Measurement, Window};
use crate::server::Server;
use crate::world::World;

/// One line of a table.
pub(crate) struct Case {
    /// The line's title.
    pub(crate) title: String,
    /// The proxy that is measured.
    pub(crate) server: Server,
    /// The requests that it gets.
    pub(crate) requests: Arc<dyn Requests>,
    /// A request that it must refuse, tried once.
    pub(crate) refused: Option<Request>,
    /// Connections, each with one request at a time.
    pub(crate) connections: usize,
}

impl Case {
    /// Starts the proxy, loads it, and ends it.
    pub(crate) fn measure(&self, world: &World, window: Window) -> Result<Measurement, Error> {
        let proxy = world.start(&self.server)?;
        let explain = |error: Error| -> Error {
            format!("{}: {error}\n{}", self.title, world.said(&self.server)).into()
        };
        wait_until_served(proxy.address, &*self.requests).map_err(explain)?;
        if let Some(request) = &self.refused {
            let attempt = async { Connection::open(proxy.address).await?.exchange(request).await };
            runtime()?.block_on(attempt).map_err(explain)?;
        }
        let window = Window { connections: self.connections, ..window };
        measurement::measure(&proxy, &self.requests, window).map_err(explain)
    }
}
