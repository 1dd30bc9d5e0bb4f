//! Pingora's phases, in which a request goes through the gateway. Each of them calls the function that does its work.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use crate::connection::connection_limit::Connections;
use crate::connection::exchange_control::{self, ExchangeControl};
use crate::gateway::admission::{self, Step};
use crate::gateway::context::Context;
use crate::gateway::http2_upstream::{self, Proxied};
use crate::gateway::state::CurrentState;
use crate::gateway::upstream_choice::{self, Outgoing};
use crate::gateway::{app_answer, failure, request_end, retry, trailers, upstream_request};

/// The gateway as Pingora sees it.
#[derive(Debug, Clone)]
pub struct Gateway {
    current: Arc<CurrentState>,
    outgoing: Outgoing,
}

impl Gateway {
    /// Makes a gateway in which each request begins with the state that is current at that moment.
    pub(crate) fn new(current: Arc<CurrentState>, clients: Arc<Connections>) -> Self {
        Self { current, outgoing: Outgoing::new(clients) }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        // This is the connection of an HTTP/2 stream. For HTTP/1.x, `on_connection_reuse` gives the connection.
        Context::new(self.current.load(), exchange_control::of_this_stream())
    }

    /// Adds no modules, so nothing compresses and nothing buffers.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn on_connection_reuse(
        &self,
        _exchange: &mut Session,
        context: &mut Context,
        connection: Box<dyn Any + Send + Sync>,
    ) {
        let connection = connection.downcast::<Arc<ExchangeControl>>();
        context.arrival.connection = connection.ok().map(|connection| *connection);
    }

    async fn request_filter(&self, exchange: &mut Session, context: &mut Context) -> Result<bool> {
        Ok(match admission::run(&self.outgoing.mark, exchange, context).await? {
            Step::Answered => true,
            Step::Forward(permit) => {
                context.decided.permit = Some(permit);
                false
            }
        })
    }

    async fn proxy_upstream_filter(&self, exchange: &mut Session, context: &mut Context) -> Result<bool> {
        let mut permitted = context.permitted()?;
        if !permitted.app.upstreams.offers_http2() {
            return Ok(true);
        }
        let proxied = http2_upstream::proxy(&mut permitted, &self.outgoing, exchange);
        Ok(match Box::pin(proxied).await? {
            Proxied::Answered => false,
            Proxied::OverHttp1 => true,
        })
    }

    async fn upstream_peer(&self, exchange: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        upstream_choice::peer(exchange, &mut context.permitted()?).await
    }

    fn fail_to_connect(
        &self,
        _exchange: &mut Session,
        peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Ok(mut permitted) = context.permitted() {
            upstream_choice::after_failure(&self.outgoing.clients, peer, &mut permitted, &mut error);
        }
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        exchange: &mut Session,
        mut error: Box<Error>,
        context: &mut Context,
        is_reused: bool,
    ) -> Box<Error> {
        let is_reused = is_reused || context.to_app.is_on_a_kept_connection();
        retry::decide(exchange, &mut error, &mut context.to_app, is_reused);
        error
    }

    async fn upstream_request_filter(
        &self,
        exchange: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let mut permitted = context.permitted()?;
        upstream_request::complete(&mut permitted, &self.outgoing.mark, exchange, upstream).await
    }

    async fn request_body_filter(
        &self,
        _exchange: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        _context: &mut Context,
    ) -> Result<()> {
        if is_end && body.as_ref().is_some_and(Bytes::is_empty) {
            // Pingora would write an empty chunk for it, which already means the end, and then the end once more.
            *body = None;
        }
        Ok(())
    }

    fn upstream_response_trailer_filter(
        &self,
        _exchange: &mut Session,
        trailers: &mut HeaderMap,
        context: &mut Context,
    ) -> Result<()> {
        trailers::clean(context.permitted()?.app, trailers)
    }

    async fn response_filter(
        &self,
        exchange: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        app_answer::change(&mut context.permitted()?, exchange, response)
    }

    async fn fail_to_proxy(
        &self,
        exchange: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        failure::answer(exchange, error, context).await
    }

    fn suppress_error_log(&self, _exchange: &Session, _context: &Context, _error: &Error) -> bool {
        // `failure` logs the important facts. Pingora's own line would quote the request's target.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _exchange: &Session,
        _context: &Context,
        _error: &Error,
        _log: pingora_proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, exchange: &mut Session, error: Option<&Error>, context: &mut Context) {
        request_end::note(exchange, context, error);
    }
}
