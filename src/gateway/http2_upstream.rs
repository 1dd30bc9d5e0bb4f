//! Requests to an app that speaks HTTP/2.
//!
//! They take this way and not Pingora's, which takes nothing of an answer while it waits for the app to take a message: an
//! app that takes messages only between its answers would stand still for ever, one that has refused an upload would not be
//! heard, and a client that has left would not be noticed. A client of HTTP/1.0 would get chunks, which it does not know. All
//! requests take it, so that those without a body to speak of share connections. Everything else is as for other apps; Pingora's phases are called in the
//! same order.

mod upload;

use http::{Method, Uri, Version, header};
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session};

use crate::gateway::context::Context;
use crate::gateway::{Gateway, early_answer, hop_by_hop};
use crate::syntax::app_head::has_no_body;
use crate::syntax::grpc;
use crate::upstream::{Way, http2};

use upload::Upload;

/// Whether a request holds up no other on its connection, though the app takes nothing of its body.
fn is_harmless(session: &mut Session) -> bool {
    session.as_mut().is_body_empty()
        || early_answer::has_body_within(session.req_header(), http2::HARMLESS_BODY)
}

/// Takes a request to the app and its answer back, again where that is right. `false`: the app does not speak HTTP/2.
pub(super) async fn proxy(gateway: &Gateway, session: &mut Session, context: &mut Context) -> Result<bool> {
    loop {
        let mut peer = gateway.upstream_peer(session, context).await?;
        // Also where the app wants HTTP/1.1 by now: see below.
        if !http2::is_offered(&peer) {
            // Or the next one's turn would be lost: with two addresses, one would never have any.
            context.peer = Some(peer);
            return Ok(false);
        }
        if grpc::is_call(session.req_header()) {
            http2::share_with_calls(&mut peer);
        } else if !is_harmless(session) {
            http2::use_alone(&mut peer);
        }
        let error = match gateway.connections.open(&peer).await {
            Ok(Some((mut upstream, is_reused))) => {
                let called = call(gateway, &peer, &mut upstream, session, context).await;
                if matches!(&called, Err(error) if *error.etype() == ErrorType::ReadTimedout) {
                    // It may be the connection that does not answer.
                    upstream.conn.mark_shutdown();
                }
                gateway.connections.close(upstream, &peer);
                let Err(error) = called else { return Ok(true) };
                if let (ErrorType::H2Downgrade | ErrorType::InvalidH2, Some(Way::Offer(choice))) =
                    (error.etype(), &context.way)
                {
                    choice.was_http1();
                }
                gateway.error_while_proxy(&peer, session, error, context, is_reused)
            }
            Ok(None) => match &context.way {
                Some(Way::Offer(choice)) if !grpc::is_call(session.req_header()) => {
                    choice.was_http1();
                    continue;
                }
                _ => {
                    let error = Error::explain(ErrorType::ConnectError, "the app does not choose HTTP/2");
                    gateway.fail_to_connect(session, &peer, context, error.into_up()).into_up()
                }
            },
            Err(error) => gateway.fail_to_connect(session, &peer, context, error.into_up()).into_up(),
        };
        if !error.retry() {
            return Err(error);
        }
    }
}

/// Once, on one stream.
async fn call(
    gateway: &Gateway,
    peer: &HttpPeer,
    upstream: &mut Http2Session,
    session: &mut Session,
    context: &mut Context,
) -> Result<()> {
    let head = request_head(gateway, peer, session, context).await?;
    let has_no_body = session.as_mut().is_body_empty();
    upstream.write_request_header(Box::new(head), has_no_body).map_err(Error::into_up)?;
    let timeouts = context.app.as_ref().map(|app| app.timeouts.clone());
    let timeouts = timeouts.ok_or_else(|| Error::explain(ErrorType::InternalError, "no app"))?;
    let socket = upstream.digest().and_then(|digest| digest.socket_digest.clone());
    let sending = upstream.take_request_body_writer();
    let sending = sending.filter(|_| !has_no_body);
    let mut upload = Upload::new(sending, session, timeouts.idle, socket, context.connection.clone());
    let mut answer = Answer { upstream, has_head: false, has_body: false };
    loop {
        // Usually the client's connection knows how long the app is waited for, and it is always read; but not here.
        let patience = if answer.has_head { timeouts.idle } else { timeouts.response };
        answer.upstream.read_timeout = upload.is_deaf(session).then_some(patience);
        let part = tokio::select! {
            moved = upload.advance(session) => {
                moved?;
                continue;
            }
            part = answer.next() => part.map_err(Error::into_up)?,
        };
        if pass_on(gateway, part, session, context).await? {
            return Ok(());
        }
    }
}

/// What the app is told.
async fn request_head(
    gateway: &Gateway,
    peer: &HttpPeer,
    session: &mut Session,
    context: &mut Context,
) -> Result<RequestHeader> {
    let mut head = session.req_header().clone();
    head.set_version(Version::HTTP_2);
    for name in hop_by_hop::named_by_connection(&head.headers).iter().chain(&hop_by_hop::OF_REQUESTS) {
        head.remove_header(name);
    }
    gateway.upstream_request_filter(session, &mut head, context).await?;
    let host = head.remove_header(&header::HOST);
    let host = host.ok_or_else(|| Error::explain(ErrorType::InternalError, "no host"))?;
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let scheme = if peer.is_tls() { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(host.as_bytes()).path_and_query(target).build();
    head.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "the host is no authority")?);
    Ok(head)
}

/// Passes a part of the answer on to the client. `true`: it was the last.
async fn pass_on(
    gateway: &Gateway,
    mut part: HttpTask,
    session: &mut Session,
    context: &mut Context,
) -> Result<bool> {
    match &mut part {
        HttpTask::Header(head, _) => {
            gateway.response_filter(session, head, context).await?;
            let client = session.req_header();
            let has_body = !has_no_body(client.method == Method::HEAD, head.status.as_u16());
            if client.version == Version::HTTP_11
                && has_body
                && !head.headers.contains_key(header::CONTENT_LENGTH)
            {
                head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
            }
            // Pingora writes no other to a connection of HTTP/1.x.
            head.set_version(Version::HTTP_11);
        }
        HttpTask::Trailer(Some(trailers)) => {
            gateway.upstream_response_trailer_filter(session, trailers, context)?;
        }
        _ => {}
    }
    session.write_response_tasks(vec![part]).await.map_err(Error::into_down)
}

/// An app's answer.
struct Answer<'a> {
    upstream: &'a mut Http2Session,
    has_head: bool,
    has_body: bool,
}

impl Answer<'_> {
    /// The next part. Nothing is lost where this is given up before it is ready.
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
