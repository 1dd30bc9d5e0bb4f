//! The requests of one HTTP/2 connection. They are accepted, or refused in a way that lets the client send them again.

use std::sync::{Arc, Weak};

use h2::Reason;
use http::HeaderValue;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use tokio::task::JoinSet;

use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::config::AccessLog;
use crate::telemetry::metrics::METRICS;
use crate::telemetry::{access_log, request_id};

use super::limits::MAX_STREAMS;
use super::raw_stream::RawStream;
use super::refused_by_h2::Heads;
use super::request_head;
use super::stream::Http2Stream;
use crate::connection::connection_settings::ConnectionSettings;
use crate::connection::exchange_control::{CONTROL_OF_STREAM, ExchangeControl};
use crate::connection::exchange_end::EndReason;

/// The most requests of one connection that are worked on at once. This includes requests whose stream the client has
/// reset: some work, such as a refresh, must be finished once it has begun.
const MAX_REQUESTS: usize = 2 * MAX_STREAMS as usize;

/// The numbers of requests in a row that may be refused for lack of room, or as malformed.
const MAX_REFUSED: u32 = 256;
const MAX_MALFORMED: u32 = 32;

/// The requests that are under way, and a record of the client's behaviour.
pub(crate) struct Requests {
    tasks: JoinSet<()>,
    controls: Vec<Weak<ExchangeControl>>,
    /// Counts the refused requests in a row.
    refused: u32,
    malformed: u32,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), controls: Vec::new(), refused: 0, malformed: 0 }
    }

    /// Returns true if no request is under way.
    pub(crate) fn is_none(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits for the end of one request.
    pub(crate) async fn one_ends(&mut self) {
        let _none_left = self.tasks.join_next().await;
    }

    /// Returns true if the client has asked for more than it may, again and again.
    pub(crate) fn are_too_many(&self) -> bool {
        self.refused > MAX_REFUSED || self.malformed > MAX_MALFORMED
    }

    /// Serves a request in a task of its own, which has deadlines and an end of its own. Refuses the request if there
    /// is no room.
    pub(crate) fn begin<A>(
        &mut self,
        mut stream: RawStream,
        app: &Arc<A>,
        settings: &ConnectionSettings,
        connection: &ExchangeControl,
        heads: &Heads,
    ) where
        A: HttpServerApp + Send + Sync + 'static,
    {
        // Requests that have ended do not count, even if nobody has noticed their end yet.
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= MAX_REQUESTS {
            heads.note((None, ReasonCode::TooManyStreams, "REFUSED_STREAM"));
            return self.refuse(stream);
        }
        self.refused = 0;
        if let Err(problem) = request_head::check(stream.request_mut(), settings.max_header_size) {
            self.malformed = self.malformed.saturating_add(1);
            let id = request_id::fresh();
            note_refusal(&problem, &id, settings.access_log, connection);
            self.tasks.spawn(async move {
                let _gone_already = request_head::refuse(&mut stream, &problem, &id).await;
            });
            return;
        }
        self.malformed = 0;
        let control = Arc::new(ExchangeControl::new(connection.peer(), connection.tls()));
        if self.controls.len() >= 2 * self.tasks.len().max(16) {
            self.controls.retain(|control| control.strong_count() > 0);
        }
        self.controls.push(Arc::downgrade(&control));
        let app = Arc::clone(app);
        let settings = settings.clone();
        self.tasks.spawn(async move {
            control.begin_exchange();
            let stream = Http2Stream::new(stream, Arc::clone(&control), settings.body_min_rate);
            // Pingora looks at this channel for every request. The end of the connection is noticed elsewhere.
            let (_, never) = tokio::sync::watch::channel(false);
            let session = ServerSession::new_custom(Box::new(stream));
            let serving =
                CONTROL_OF_STREAM.scope(Arc::clone(&control), app.process_new_http(session, &never));
            control.unless_cut_off(serving).await;
            control.finish_exchange();
        });
    }

    /// Refuses a request that nothing has looked at. The client may send it again (RFC 9113 section 8.7).
    pub(crate) fn refuse(&mut self, mut stream: RawStream) {
        self.refused = self.refused.saturating_add(1);
        stream.reset(Reason::REFUSED_STREAM);
    }

    /// Notes that the connection has ended. The work on its requests notices this by itself, and may have to be
    /// finished in order.
    pub(crate) fn end(mut self, reason: Option<EndReason>) {
        for control in self.controls.iter().filter_map(Weak::upgrade) {
            if let Some(reason) = reason {
                control.end(reason);
            }
        }
        self.tasks.detach_all();
    }
}

/// Writes the refusal to the log and the metrics. The gateway has not seen this request, so nothing else does it.
fn note_refusal(problem: &Problem, id: &HeaderValue, log: AccessLog, control: &ExchangeControl) {
    METRICS.refused_heads.with_label_values(&[problem.reason.as_str()]).inc();
    access_log::write_refused_head(log, id, problem, control.peer().ip());
}
