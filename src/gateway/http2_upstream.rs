//! Requests to an app that speaks HTTP/2.
//!
//! They do not use Pingora's own way. Pingora reads nothing of an answer while it waits for the app to take a message.
//! So an app that takes messages only between its answers would hang for ever, an app that has refused an upload would
//! not be heard, and nobody would notice that a client has left. A client of HTTP/1.0 would get chunks, which it does
//! not know.
//!
//! All requests take this way, so that those without a large body share connections. Everything else is
//! done as for other apps: this module calls the functions of Pingora's phases, in the same order.

mod upload;

use http::{Method, Uri, Version, header};
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::gateway::cdn_loop::Mark;
use crate::gateway::context::Permitted;
use crate::gateway::upstream_choice::{self, Outgoing};
use crate::gateway::{app_answer, early_answer, hop_by_hop, retry, trailers, upstream_request};
use crate::syntax::app_head::has_no_body;
use crate::syntax::grpc;
use crate::upstream::{Way, http2};

use upload::Upload;

/// Tells whether a request cannot hold up others on its connection, even if the app takes nothing of its body.
fn is_harmless(exchange: &mut Session) -> bool {
    exchange.as_mut().is_body_empty()
        || early_answer::has_body_within(exchange.req_header(), http2::HARMLESS_BODY)
}

/// The result for a request that was to go to its app over HTTP/2.
pub(super) enum Proxied {
    /// Its answer has been passed on.
    Answered,
    /// The app does not speak HTTP/2. Pingora passes the request on.
    OverHttp1,
}

/// Takes a request to the app and its answer back. Sends the request again if that is safe.
pub(super) async fn proxy(
    permitted: &mut Permitted<'_>,
    outgoing: &Outgoing,
    exchange: &mut Session,
) -> Result<Proxied> {
    loop {
        let mut peer = upstream_choice::peer(exchange, permitted).await?;
        // The app may also have changed to HTTP/1.1 in the meantime: see below.
        if !http2::is_offered(&peer) {
            // The address is kept, or it would lose its turn. With two addresses, one of them would then never have a
            // turn.
            permitted.to_app.peer = Some(peer);
            return Ok(Proxied::OverHttp1);
        }
        if grpc::is_call(exchange.req_header()) {
            http2::share_with_calls(&mut peer);
        } else if !is_harmless(exchange) {
            http2::use_alone(&mut peer);
        }
        let error = match outgoing.connections.open(&peer).await {
            Ok(Some((mut upstream, is_reused))) => {
                let called = call(permitted, outgoing, &peer, &mut upstream, exchange).await;
                if matches!(&called, Err(error) if *error.etype() == ErrorType::ReadTimedout) {
                    // The connection itself may be the reason why nothing arrives.
                    upstream.conn.mark_shutdown();
                }
                outgoing.connections.close(upstream, &peer);
                let Err(mut error) = called else { return Ok(Proxied::Answered) };
                if let (ErrorType::H2Downgrade | ErrorType::InvalidH2, Some(Way::Offer(choice))) =
                    (error.etype(), &permitted.to_app.way)
                {
                    choice.was_http1();
                }
                let is_reused = is_reused || permitted.to_app.is_on_a_kept_connection();
                retry::decide(exchange, &mut error, permitted.to_app, is_reused);
                error
            }
            Ok(None) => match &permitted.to_app.way {
                Some(Way::Offer(choice)) if !grpc::is_call(exchange.req_header()) => {
                    choice.was_http1();
                    continue;
                }
                _ => {
                    let error = Error::explain(ErrorType::ConnectError, "the app does not choose HTTP/2");
                    let mut error = error.into_up();
                    upstream_choice::after_failure(&outgoing.clients, &peer, permitted, &mut error);
                    error
                }
            },
            Err(error) => {
                let mut error = error.into_up();
                upstream_choice::after_failure(&outgoing.clients, &peer, permitted, &mut error);
                error
            }
        };
        if !error.retry() {
            return Err(error);
        }
    }
}

/// Takes a request to the app once, on one stream.
async fn call(
    permitted: &mut Permitted<'_>,
    outgoing: &Outgoing,
    peer: &HttpPeer,
    upstream: &mut Http2Session,
    exchange: &mut Session,
) -> Result<()> {
    let head = request_head(permitted, &outgoing.mark, peer, exchange).await?;
    let has_no_body = exchange.as_mut().is_body_empty();
    upstream.write_request_header(Box::new(head), has_no_body).map_err(Error::into_up)?;
    let timeouts = permitted.app.timeouts.clone();
    let socket = upstream.digest().and_then(|digest| digest.socket_digest.clone());
    let sending = upstream.take_request_body_writer();
    let sending = sending.filter(|_| !has_no_body);
    let mut upload =
        Upload::new(sending, exchange, timeouts.idle, socket, permitted.arrival.connection.clone());
    let mut answer = Answer { upstream, has_head: false, has_body: false };
    loop {
        // Usually the client's connection measures how long the app may take, because it is always read. Here it is not
        // read.
        let patience = if answer.has_head { timeouts.idle } else { timeouts.response };
        answer.upstream.read_timeout = upload.is_deaf(exchange).then_some(patience);
        let part = tokio::select! {
            moved = upload.advance(exchange) => {
                moved?;
                continue;
            }
            part = answer.next() => part.map_err(Error::into_up)?,
        };
        if pass_on(permitted, part, exchange).await? {
            return Ok(());
        }
    }
}

/// Makes the head that the app sees.
async fn request_head(
    permitted: &mut Permitted<'_>,
    mark: &Mark,
    peer: &HttpPeer,
    exchange: &mut Session,
) -> Result<RequestHeader> {
    let mut head = exchange.req_header().clone();
    head.set_version(Version::HTTP_2);
    for name in hop_by_hop::named_by_connection(&head.headers).iter().chain(&hop_by_hop::OF_REQUESTS) {
        head.remove_header(name);
    }
    upstream_request::complete(permitted, mark, exchange, &mut head).await?;
    let host = head.remove_header(&header::HOST);
    let host = host.ok_or_else(|| Error::explain(ErrorType::InternalError, "no host"))?;
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let scheme = if peer.is_tls() { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(host.as_bytes()).path_and_query(target).build();
    head.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "the host is no authority")?);
    Ok(head)
}

/// Passes a part of the answer on to the client. Returns true after the last one.
async fn pass_on(permitted: &mut Permitted<'_>, mut part: HttpTask, exchange: &mut Session) -> Result<bool> {
    match &mut part {
        HttpTask::Header(head, _) => {
            app_answer::change(permitted, exchange, head)?;
            let client = exchange.req_header();
            let has_body = !has_no_body(client.method == Method::HEAD, head.status.as_u16());
            if client.version == Version::HTTP_11
                && has_body
                && !head.headers.contains_key(header::CONTENT_LENGTH)
            {
                head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
            }
            // Pingora writes only this version to a connection of HTTP/1.x.
            head.set_version(Version::HTTP_11);
        }
        HttpTask::Trailer(Some(trailers)) => {
            trailers::clean(permitted.app, trailers)?;
        }
        _ => {}
    }
    exchange.write_response_tasks(vec![part]).await.map_err(Error::into_down)
}

/// An app's answer.
struct Answer<'a> {
    upstream: &'a mut Http2Session,
    has_head: bool,
    has_body: bool,
}

impl Answer<'_> {
    /// Returns the next part. If the caller drops it before it is ready, nothing is lost.
    async fn next(&mut self) -> Result<HttpTask> {
        if !self.has_head {
            self.upstream.read_response_header().await?;
            self.has_head = true;
            let head = self.upstream.response_header().cloned();
            let head = head.ok_or_else(|| Error::explain(ErrorType::InternalError, "no head"))?;
            return Ok(HttpTask::Header(Box::new(head), self.is_over()?));
        }
        while !self.has_body {
            match self.upstream.read_response_body().await {
                Ok(Some(bytes)) => {
                    let is_last = self.is_over()?;
                    if is_last || !bytes.is_empty() {
                        return Ok(HttpTask::Body(Some(bytes), is_last));
                    }
                }
                Err(error) if !http2::stops_upload(&error) => return Err(error),
                _ => self.has_body = true,
            }
        }
        let trailers = self.upstream.read_trailers().await?;
        Ok(HttpTask::Trailer(trailers.map(Box::new)))
    }

    fn is_over(&mut self) -> Result<bool> {
        self.upstream
            .check_response_end_or_error()
            .or_else(|error| if http2::stops_upload(&error) { Ok(true) } else { Err(error) })
    }
}
