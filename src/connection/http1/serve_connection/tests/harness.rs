//! A front with a real `HttpProxy` behind it, before an upstream that remembers what it saw.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::{FailToProxy, HttpProxy, ProxyHttp, Session};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use crate::connection::connection_limit::Connections;
use crate::connection::connection_settings::ConnectionSettings;
use crate::connection::exchange_control::{ExchangeControl, ExchangeHandle};
use crate::connection::exchange_end::EndReason;
use crate::connection::listener::{Front, accept};

use super::app::{Record, Seen, upstream};
use crate::upstream::connect::Dialer;
use crate::upstream::http1::connector::prepare_for_web_socket;

/// For waits that end early when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The gateway's stand-in.
pub(crate) struct Proxy {
    upstream: SocketAddr,
    ended: Arc<Mutex<Vec<EndReason>>>,
    exchanges: Arc<Mutex<Vec<ExchangeHandle>>>,
}

#[derive(Default)]
pub(crate) struct Context(Option<Arc<ExchangeControl>>);

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::default()
    }

    fn on_connection_reuse(
        &self,
        _: &mut Session,
        context: &mut Context,
        control: Box<dyn Any + Send + Sync>,
    ) {
        context.0 = control.downcast::<Arc<ExchangeControl>>().ok().map(|control| *control);
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        let control = context.0.as_ref().expect("every request has a control");
        assert!(control.peer().ip().is_loopback() && !control.tls());
        self.exchanges.lock().expect("unpoisoned").push(control.exchange());
        let query = session.req_header().uri.query().unwrap_or_default().to_owned();
        if query.contains("deadline") {
            control.timeouts.arm_response(Duration::from_millis(200));
        }
        if query.contains("idle") {
            control.timeouts.set_idle(Duration::from_millis(200));
        }
        match session.req_header().uri.path() {
            "/panic" => panic!("asked for"),
            "/local" => {
                let mut response = ResponseHeader::build(401, None)?;
                response.insert_header("Content-Length", "5")?;
                session.write_response_header(Box::new(response), false).await?;
                session.write_response_body(Some(Bytes::from_static(b"local")), true).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn upstream_peer(&self, session: &mut Session, _: &mut Context) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.upstream, false, String::new());
        if session.is_upgrade_req() {
            prepare_for_web_socket(&mut peer, Dialer::to(self.upstream));
        }
        Ok(Box::new(peer))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _: &mut Context,
    ) -> Result<()> {
        if response.status == 100 {
            // The body will come now; without this the 100 would cost the connection.
            session.set_close_on_response_before_downstream_finish(false);
        }
        Ok(())
    }

    async fn fail_to_proxy(&self, session: &mut Session, _: &Error, context: &mut Context) -> FailToProxy {
        let reason = context.0.as_ref().and_then(|control| control.ended());
        self.ended.lock().expect("unpoisoned").extend(reason);
        let error_code = match reason {
            Some(EndReason::ResponseTimeout) => 504,
            Some(EndReason::BodyTooSlow) => 408,
            Some(EndReason::MalformedBody) => 400,
            _ => 502,
        };
        let _gone_already = session.respond_error(error_code).await;
        FailToProxy { error_code, can_reuse_downstream: false }
    }
}

/// A running front. Dropped with the test's runtime.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<Connections>,
    pub(crate) shutdown: watch::Sender<bool>,
    pub(crate) ended: Arc<Mutex<Vec<EndReason>>>,
    /// Of every request, as the gateway sees them.
    pub(crate) exchanges: Arc<Mutex<Vec<ExchangeHandle>>>,
    /// Lets an upstream that waits for it go on.
    pub(crate) go_on: Arc<Notify>,
    record: Record,
}

pub(crate) fn settings() -> ConnectionSettings {
    ConnectionSettings {
        header_timeout: PATIENCE,
        keep_alive_timeout: PATIENCE,
        max_header_size: 32 * 1024,
        body_min_rate: 256,
        access_log: crate::config::AccessLog::Off,
    }
}

impl Server {
    pub(crate) async fn start(settings: ConnectionSettings, max_connections: usize) -> Self {
        let upstream_listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream_address = upstream_listener.local_addr().expect("bound");
        let record = Record::default();
        let go_on = Arc::new(Notify::new());
        tokio::spawn(upstream(upstream_listener, Arc::clone(&record), Arc::clone(&go_on)));

        let (ended, exchanges) = (Arc::default(), Arc::default());
        let proxy = Proxy {
            upstream: upstream_address,
            ended: Arc::clone(&ended),
            exchanges: Arc::clone(&exchanges),
        };
        let mut app = HttpProxy::new(proxy, Arc::new(ServerConf::default()));
        app.handle_init_modules();
        let connections = Connections::new(max_connections);
        let front = Front {
            app: Arc::new(app),
            settings: Arc::new(Arc::new(settings).into()),
            connections: Arc::clone(&connections),
            others: None,
            gauge: None,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (shutdown, is_shutting_down) = watch::channel(false);
        tokio::spawn(accept(listener, None, Arc::new(front), is_shutting_down));
        Self { address, connections, shutdown, ended, exchanges, go_on, record }
    }

    pub(crate) async fn with_defaults() -> Self {
        Self::start(settings(), 1000).await
    }

    pub(crate) async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.expect("accepted");
        stream.set_nodelay(true).expect("a socket");
        Client(BufReader::new(stream))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.record.lock().expect("unpoisoned").clone()
    }

    pub(crate) fn clear(&self) {
        self.record.lock().expect("unpoisoned").clear();
    }
}

/// A client that counts bytes.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

/// Status, lower-cased head, and body of a response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("sent");
    }

    pub(crate) async fn response(&mut self) -> Response {
        tokio::time::timeout(PATIENCE, self.read_response()).await.expect("a response in time")
    }

    async fn read_response(&mut self) -> Response {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).await.expect("a response"), 0, "closed after {head:?}");
        }
        let head = head.to_ascii_lowercase();
        let length = head.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.map_or(0, |digits| digits.parse().expect("digits"))];
        self.0.read_exact(&mut body).await.expect("the whole body");
        let status = head.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status");
        Response { status, head, body: String::from_utf8(body).expect("text") }
    }

    /// All that comes until the end, which must not be a reset.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .expect("an end")
            .expect("no reset");
        rest
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let ended = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        ended.is_ok() && rest.is_empty()
    }
}
