//! The same rule for apps that speak HTTP/2.

use bytes::Bytes;
use http::Response;

use super::{CLIENTS, Clients, in_order};
use crate::support::http2::{Call, Http2App};
use crate::support::store_at;

type Fields = &'static [(&'static str, &'static str)];

/// Status and fields of the app's answer, then those that a client must get. The status 0 stands for 502.
const CASES: &[(u16, Fields, u16, Fields)] = &[
    (200, &[("content-length", "2"), ("content-length", "2")], 200, &[("content-length", "2")]),
    (200, &[("content-length", "2"), ("content-length", "3")], 0, &[]),
    (200, &[("content-length", "x")], 0, &[]),
    (204, &[("content-length", "0"), ("x-a", "1")], 204, &[("x-a", "1")]),
    (304, &[("content-length", "5"), ("etag", "a")], 304, &[("content-length", "5"), ("etag", "a")]),
    (200, &[("x-a", " 1\t")], 200, &[("x-a", "1")]),
    (200, &[("trailer", "x"), ("te", "trailers")], 200, &[]),
    (200, &[("connection", "close")], 0, &[]),
    (200, &[("transfer-encoding", "chunked")], 0, &[]),
    (200, &[("upgrade", "h2c")], 0, &[]),
    (200, &[("keep-alive", "timeout=5")], 0, &[]),
    (200, &[("proxy-connection", "x")], 0, &[]),
    (600, &[], 0, &[]),
    (999, &[], 0, &[]),
];

/// Answers with the case whose number is the query.
async fn answer_case(mut call: Call) {
    let target = call.head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let case = target.split_once('?').and_then(|(_, number)| number.parse::<usize>().ok());
    let (status, fields, _, _) = CASES[case.expect("a case")];
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let has_body = status != 204 && status != 304 && call.head.method != http::Method::HEAD;
    let sent = call.respond.send_response(response.body(()).unwrap(), !has_body);
    if let Some(mut stream) = sent.ok().filter(|_| has_body) {
        let _reset = stream.send_data(Bytes::from_static(b"ok"), true);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_holds_for_apps_over_http_2() {
    let app = Http2App::start(answer_case).await;
    let mut clients = Clients::start(&store_at(&app.url())).await;
    for (number, (status, says, expected, fields)) in CASES.iter().enumerate() {
        for method in ["GET", "HEAD"] {
            for client in CLIENTS {
                let what = format!("{method} of {client}: {status} {says:?}");
                let target = format!("/open/odd?{number}");
                let seen = clients.ask(client, method, &target, &what).await;
                if *expected == 0 {
                    assert_eq!(seen.status, 502, "{what}: {seen:?}");
                } else {
                    let expected = (*expected, in_order(fields.iter().copied()));
                    assert_eq!((seen.status, seen.fields), expected, "{what}");
                }
            }
        }
    }
}
