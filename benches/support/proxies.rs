//! The two proxies, each in a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::modules::http::HttpModules;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::Service;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session};
use portcullis::process::{Server, runtime};

use crate::issuer::Error;
use crate::port;
use crate::process::end_with_parent;

/// Portcullis, as its binary runs it. `prepare` is called with the admin listener's address before it is said to be
/// ready.
pub(crate) fn portcullis(
    config: &Path,
    prepare: impl FnOnce(SocketAddr) -> Result<(), Error> + Send + 'static,
) -> Result<(), Error> {
    end_with_parent();
    let config = portcullis::config::load(config)?.config;
    let _log = portcullis::telemetry::start(&config.server.log);
    runtime(config.server.worker_threads)?.block_on(async {
        let server = Server::bind(config).await?;
        let address = *server.addresses().first().ok_or("no address")?;
        let admin = server.admin_address().ok_or("no admin address")?;
        let running = tokio::spawn(server.run(std::future::pending()));
        tokio::task::spawn_blocking(move || prepare(admin)).await??;
        println!("{address}");
        Ok(running.await??)
    })
}

/// A proxy that does nothing but forward.
pub(crate) fn bare(backend: SocketAddr) -> Result<(), Error> {
    end_with_parent();
    // Pingora binds by itself and does not tell the port.
    let (_reserved, address) = port::reserve()?;
    let address = address.to_string();
    // As in `portcullis::process`.
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut service = pingora_proxy::http_proxy_service(&Arc::new(conf), Bare { backend });
    service.add_tcp(&address);
    // As Pingora's own server makes it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        println!("{address}");
        let (_running, shutdown) = tokio::sync::watch::channel(false);
        service.start_service(None, shutdown, 1).await;
        Ok(())
    })
}

struct Bare {
    backend: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _context: &mut Self::CTX,
    ) -> pingora_core::Result<Box<HttpPeer>> {
        let mut peer = Box::new(HttpPeer::new(self.backend, false, String::new()));
        // The defaults of `[apps.NAME.timeouts]`.
        peer.options.connection_timeout = Some(Duration::from_secs(2));
        peer.options.total_connection_timeout = Some(Duration::from_secs(2));
        peer.options.read_timeout = Some(Duration::from_secs(300));
        peer.options.write_timeout = Some(Duration::from_secs(300));
        peer.options.idle_timeout = Some(Duration::from_secs(60));
        Ok(peer)
    }
}
