//! Handles `Expect: 100-continue` (RFC 9110 section 10.1.1). The gateway answers it and never passes it on.
//!
//! An app that sees the field may answer after the head, while the body is on its way. The app may then take the body
//! for another request. Without the field, an app has to read the body or to close the connection.

use http::{HeaderValue, Version, header};
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::syntax::framing_fields::expects_continue;

/// Tells whether the client may wait for a 100 before it sends its body. A client of HTTP/1.0 knows no 100. Over
/// HTTP/2, the field was already removed.
fn is_awaited(request: &RequestHeader) -> bool {
    let values = request.headers.get_all(header::EXPECT).iter().map(HeaderValue::as_bytes);
    request.version == Version::HTTP_11 && expects_continue(values)
}

/// Asks a client that waits for a 100 to send its body. Call this once it is certain that the body is wanted.
pub(super) async fn go_on(exchange: &mut Session) -> Result<()> {
    if !exchange.req_header().headers.contains_key(header::EXPECT) {
        return Ok(());
    }
    let is_due = is_awaited(exchange.req_header())
        && exchange.response_written().is_none()
        && !exchange.as_mut().is_body_done();
    if is_due {
        // Otherwise Pingora would take the 100 for a final answer before the end of the body.
        exchange.set_close_on_response_before_downstream_finish(false);
        exchange.write_continue_response().await?;
        exchange.set_close_on_response_before_downstream_finish(true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_100() {
        for (version, fields, expected) in [
            (Version::HTTP_11, &["100-continue"][..], true),
            (Version::HTTP_11, &["100-Continue"], true),
            (Version::HTTP_11, &["x, 100-continue "], true),
            (Version::HTTP_11, &["x", "100-continue"], true),
            (Version::HTTP_11, &["100-continued"], false),
            (Version::HTTP_11, &["x"], false),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_10, &["100-continue"], false),
        ] {
            let mut request = RequestHeader::build("POST", b"/", None).expect("valid");
            request.set_version(version);
            for field in fields {
                request.append_header(header::EXPECT, *field).expect("valid");
            }
            assert_eq!(is_awaited(&request), expected, "{version:?} {fields:?}");
        }
    }
}
