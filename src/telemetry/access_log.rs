//! The access log, with the target `access`. This module writes the lines of requests that were refused before an app
//! and a decision were found. The gateway writes the other lines (`gateway/request_end.rs`).

use std::net::IpAddr;

use http::HeaderValue;
use tracing::info;

use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::config::AccessLog;

/// Writes the line of a request whose head was refused before any of its fields was read.
pub(crate) fn write_refused_head(log: AccessLog, id: &HeaderValue, problem: &Problem, client: IpAddr) {
    let why = (Some(problem.status.as_u16()), problem.reason, &*problem.detail);
    write_refused(log, id, why, client);
}

/// Writes the line of a refused request that may have had no answer.
pub(crate) fn write_refused(
    log: AccessLog,
    id: &HeaderValue,
    (status, reason, detail): (Option<u16>, ReasonCode, &str),
    client: IpAddr,
) {
    if log == AccessLog::Off {
        return;
    }
    info!(
        target: "access",
        request_id = text(Some(id)),
        app = "-",
        route = "-",
        status,
        reason = reason.as_str(),
        detail,
        client = %client,
        "request"
    );
}

/// Returns a request id as text.
pub(crate) fn text(id: Option<&HeaderValue>) -> Option<&str> {
    id.and_then(|id| id.to_str().ok())
}
