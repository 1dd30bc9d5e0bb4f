use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};

use super::*;

type Fields<'a> = &'a [(&'static str, &'a str)];

fn response(status: u16, version: Version, fields: Fields<'_>) -> ResponseHeader {
    let mut response = ResponseHeader::build(status, None).unwrap();
    response.set_version(version);
    for (name, value) in fields {
        response.append_header(*name, *value).unwrap();
    }
    response
}

fn request(method: &str, version: Version) -> RequestHeader {
    let mut request = RequestHeader::build(method, b"/", None).unwrap();
    request.set_version(version);
    request
}

/// What a client gets of a head, sorted by name. `None`: 502.
fn seen(app: &ResponseHeader, method: &str, client: Version) -> Option<Vec<(String, String)>> {
    let is_web_socket = app.status == StatusCode::SWITCHING_PROTOCOLS;
    let head = judge(app, &request(method, client), is_web_socket).ok()?;
    let mut response = app.clone();
    if response.status.is_informational() && !is_web_socket {
        head.clean_interim(&mut response).unwrap();
    } else {
        plain_headers::change_response(&mut response, is_web_socket, |headers| head.clean(headers)).unwrap();
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut fields: Vec<_> =
        response.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    fields.sort();
    Some(fields)
}

fn owned(fields: Fields<'_>) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect()
}

const HTTP_10: Version = Version::HTTP_10;
const HTTP_11: Version = Version::HTTP_11;
const HTTP_2: Version = Version::HTTP_2;

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_a_client_gets_of_a_head() {
    // Status, what the app says, and what a client of HTTP/1.1 gets.
    let cases: &[(u16, Fields<'_>, Fields<'_>)] = &[
        (200, &[("content-length", "5"), ("content-length", "5")], &[("content-length", "5")]),
        (200, &[("content-length", "005 ,5")], &[("content-length", "5")]),
        (200, &[("transfer-encoding", "chunked")], &[("transfer-encoding", "chunked")]),
        (204, &[("content-length", "0"), ("x-a", "1")], &[("x-a", "1")]),
        (204, &[("transfer-encoding", "chunked")], &[]),
        (304, &[("content-length", "5, 5"), ("etag", "a")], &[("content-length", "5"), ("etag", "a")]),
        (304, &[("transfer-encoding", "chunked")], &[]),
        (205, &[("content-length", "0")], &[("content-length", "0")]),
        (
            103,
            &[
                ("connection", "close, x-hop"),
                ("content-length", "0"),
                ("keep-alive", "timeout=5"),
                ("link", "<a>"),
                ("proxy-connection", "close"),
                ("te", "trailers"),
                ("trailer", "x"),
                ("upgrade", "h2c"),
                ("x-hop", "1"),
            ],
            &[("link", "<a>")],
        ),
        (100, &[("transfer-encoding", "chunked")], &[]),
        // Whatever `Connection` names, over all its fields; but not what is for all recipients.
        (200, &[("connection", "x-a"), ("connection", "y, X-B"), ("x-a", "1"), ("x-b", "2")], &[]),
        (
            200,
            &[
                ("cache-control", "no-store"),
                (
                    "connection",
                    "set-cookie, content-length, cache-control, content-type, :status, \"x\", a b",
                ),
                ("content-length", "5"),
                ("content-type", "text/plain"),
                ("set-cookie", "a=1"),
            ],
            &[
                ("cache-control", "no-store"),
                ("content-length", "5"),
                ("content-type", "text/plain"),
                ("set-cookie", "a=1"),
            ],
        ),
        (
            200,
            &[("connection", "keep-alive, Transfer-Encoding"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked")],
        ),
        (
            200,
            &[("keep-alive", "timeout=5"), ("proxy-connection", "keep-alive"), ("te", "x"), ("trailer", "x")],
            &[],
        ),
        (200, &[("upgrade", "h2,h2c")], &[]),
        (200, &[("connection", "Upgrade"), ("upgrade", "h2,h2c")], &[]),
        (426, &[("connection", "Upgrade"), ("upgrade", "websocket")], &[("upgrade", "websocket")]),
    ];
    for (status, says, gets) in cases {
        let app = response(*status, HTTP_11, says);
        let expected = Some(owned(gets));
        assert_eq!(seen(&app, "GET", HTTP_11), expected, "{status} {says:?}");
        // Neither HEAD nor HTTP/1.0 knows chunks; over HTTP/2 there is no `Upgrade`.
        let without = |names: &[HeaderName]| {
            let fields = expected.clone().unwrap();
            Some(
                fields
                    .into_iter()
                    .filter(|(name, _)| names.iter().all(|other| other.as_str() != name))
                    .collect(),
            )
        };
        assert_eq!(seen(&app, "HEAD", HTTP_11), without(&[TRANSFER_ENCODING]), "HEAD: {status} {says:?}");
        assert_eq!(seen(&app, "GET", HTTP_10), without(&[TRANSFER_ENCODING]), "1.0: {status} {says:?}");
        assert_eq!(seen(&app, "GET", HTTP_2), without(&[UPGRADE]), "2: {status} {says:?}");
        assert!(!without(&[]).unwrap_or_default().iter().any(|(name, _): &(String, _)| name == "connection"));
    }
}

#[test]
fn the_head_of_a_web_socket_is_one_and_nothing_else() {
    let expected =
        Some(owned(&[("connection", "Upgrade"), ("sec-websocket-accept", "x"), ("upgrade", "websocket")]));
    let accept = ("sec-websocket-accept", "x");
    for says in [
        &[("connection", "Upgrade"), ("upgrade", "websocket"), accept][..],
        &[
            ("connection", "close"),
            ("connection", "upgrade, Sec-WebSocket-Accept"),
            ("upgrade", "WebSocket"),
            accept,
        ],
        &[("upgrade", "websocket,"), ("content-length", "0"), ("keep-alive", "timeout=5"), accept],
        &[("upgrade", "websocket"), ("transfer-encoding", "chunked"), accept],
    ] {
        assert_eq!(seen(&response(101, HTTP_11, says), "GET", HTTP_11), expected, "{says:?}");
    }
    for says in [&[][..], &[("upgrade", "h2c")], &[("upgrade", "websocket, h2c")], &[("upgrade", "")]] {
        assert_eq!(seen(&response(101, HTTP_11, says), "GET", HTTP_11), None, "{says:?}");
    }
    let two = [("upgrade", "websocket"), ("upgrade", "websocket")];
    assert_eq!(seen(&response(101, HTTP_11, &two), "GET", HTTP_11), None);
    let unasked = response(101, HTTP_11, &[("upgrade", "websocket")]);
    assert!(judge(&unasked, &request("GET", HTTP_11), false).is_err());
}

#[test]
fn what_has_no_one_meaning_is_refused() {
    for (status, version, says) in [
        (200, HTTP_11, &[("content-length", "5"), ("content-length", "6")][..]),
        (204, HTTP_2, &[("content-length", "x")]),
        (200, HTTP_11, &[("content-length", "9223372036854775808")]),
        (200, HTTP_11, &[("transfer-encoding", "gzip, chunked")]),
        (200, HTTP_11, &[("transfer-encoding", "chunked"), ("content-length", "5")]),
        (200, HTTP_10, &[("transfer-encoding", "chunked")]),
        (103, HTTP_10, &[]),
        (101, HTTP_10, &[("upgrade", "websocket")]),
        (600, HTTP_11, &[]),
        (999, HTTP_2, &[]),
    ] {
        for method in ["GET", "HEAD"] {
            for client in [HTTP_10, HTTP_11, HTTP_2] {
                assert_eq!(seen(&response(status, version, says), method, client), None, "{status} {says:?}");
            }
        }
    }
}

#[test]
fn white_space_around_a_value_is_no_part_of_it() {
    let app = response(200, HTTP_2, &[("x-a", "\t a b "), ("x-b", ""), ("x-c", " ")]);
    let expected = Some(owned(&[("x-a", "a b"), ("x-b", ""), ("x-c", "")]));
    assert_eq!(seen(&app, "GET", HTTP_2), expected);
    assert!(!app.headers.contains_key(CONTENT_LENGTH));
}
