use super::*;

#[test]
fn where_an_answer_ends_and_whether_another_may_follow() {
    use BodyEnd::{Chunked, Length, None, Unknown};
    // To GET: where the body ends, and whether the connection persists; the same to HEAD.
    type Read = (BodyEnd, bool);
    let cases: &[(&str, Read, Read)] = &[
        ("1.1 200 OK\r\nContent-Length: 5\r\n", (Length(5), true), (None, false)),
        ("1.1 200 OK\r\ncontent-length:5\r\n", (Length(5), true), (None, false)),
        ("1.1 200 OK\r\nContent-Length: 0\r\n", (None, true), (None, true)),
        ("1.1 200 OK\r\n", (Unknown, false), (None, true)),
        ("1.1 200\r\nTransfer-Encoding: Chunked \r\n", (Chunked, true), (None, false)),
        ("1.1 204 No Content\r\n", (None, true), (None, true)),
        ("1.1 204 No Content\r\nContent-Length: 0\r\n", (None, true), (None, true)),
        ("1.1 204 No Content\r\nContent-Length: 5\r\n", (None, false), (None, false)),
        ("1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", (None, false), (None, false)),
        ("1.1 304 Not Modified\r\nETag: a\r\n", (None, true), (None, true)),
        ("1.1 304 Not Modified\r\nContent-Length: 5\r\n", (None, false), (None, false)),
        ("1.1 205 Reset Content\r\n", (Unknown, false), (None, true)),
        // It says that it closes, anywhere and in any case.
        ("1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n", (Length(5), false), (None, false)),
        ("1.1 204 No\r\nconnection: x\r\nCONNECTION: keep-alive ,CLOSE\r\n", (None, false), (None, false)),
        ("1.1 204 No\r\nConnection: closed\r\n", (None, true), (None, true)),
        ("1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n", (Length(5), false), (None, false)),
        ("1.0 204 No\r\n", (None, false), (None, false)),
        // The same said twice.
        ("1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n", (Length(5), true), (None, false)),
        ("1.1 200 OK\r\nContent-Length: 5, 5\r\n", (Length(5), true), (None, false)),
        ("1.1 200 OK\r\nContent-Length : 5\r\n", (Length(5), true), (None, false)),
        // No more requests.
        (
            "1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=5, max=0\r\n",
            (Length(5), false),
            (None, false),
        ),
        ("1.1 204 No\r\nKeep-Alive: max=3\r\nKeep-Alive: MAX=\"0\"\r\n", (None, false), (None, false)),
        ("1.1 204 No\r\nKeep-Alive: max=1\r\n", (None, true), (None, true)),
        ("1.1 204 No\r\nKeep-Alive: max=x\r\n", (None, false), (None, false)),
        // Others may read it otherwise.
        ("1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n folded\r\n", (Unknown, false), (Unknown, false)),
        ("1.1 200 OK\r\nContent-Length: 5\r\nX: y\n", (Unknown, false), (Unknown, false)),
        ("1.1 101 Switching Protocols\r\nContent-Length: 5\r\n", (Unknown, false), (Unknown, false)),
    ];
    for (text, to_get, to_head) in cases {
        let bytes = format!("HTTP/{text}\r\nrest");
        for (is_to_head, expected) in [(false, to_get), (true, to_head)] {
            let (head, length) = AnswerHead::read(bytes.as_bytes(), is_to_head).expect(text);
            let head = head.expect(text);
            assert_eq!((head.body, head.persists), *expected, "{text:?}, to HEAD: {is_to_head}");
            assert_eq!(&bytes[length..], "rest", "{text:?}");
            assert!(!head.is_interim, "{text:?}");
        }
    }
}

#[test]
fn more_fields_than_are_read_are_refused_once_one_more_begins() {
    let read = |count: usize, end: &str| {
        let fields = "A: b\r\n".repeat(count);
        let text = format!("HTTP/1.1 204 No\r\n{fields}{end}");
        AnswerHead::read(text.as_bytes(), false).map(|(head, _)| head.map(|head| head.body))
    };
    let refused = Some(Err(AppHeadRefusal::TooManyFields));
    assert_eq!(read(256, "\r\n"), Some(Ok(BodyEnd::None)));
    assert_eq!(read(257, "\r\n"), refused);
    assert_eq!(read(256, "A"), refused);
    // Nothing, the beginning of an end, the rest of a folded field.
    for end in ["", "\r", " b\r\n", "\tb"] {
        assert_eq!(read(256, end), None, "{end:?}");
    }
    assert_eq!(read(256, " b\r\n\r\n"), Some(Ok(BodyEnd::Unknown)));
    // What we write is not counted.
    let request = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(300));
    assert_eq!(RequestHead::read(request.as_bytes()).unwrap().1, request.len());
}

#[test]
fn what_has_no_one_meaning_is_refused() {
    use AppHeadRefusal::{
        Coding, CodingOfHttp10, Folded, InterimOfHttp10, Length, Status, StatusLine, TwoFramings,
    };
    for (text, refusal) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n", Length),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n", Length),
        ("HTTP/1.1 204 No\r\nContent-Length: 5, 6\r\n", Length),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", TwoFramings),
        ("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n", TwoFramings),
        ("HTTP/1.1 103 Hi\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n", TwoFramings),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", Coding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Coding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", CodingOfHttp10),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n 5\r\n", Folded),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection:\r\n\tclose\r\n", Folded),
        ("HTTP/1.0 103 Early Hints\r\n", InterimOfHttp10),
        ("HTTP/1.0 101 Switching Protocols\r\n", InterimOfHttp10),
        ("HTTP/1.1 600 OK\r\n", Status),
        ("HTTP/1.1 099 OK\r\n", Status),
        ("HTTP/1.1 2000 OK\r\n", StatusLine),
        ("HTTP/1.1 20 OK\r\n", StatusLine),
        ("HTTP/1.1  200 OK\r\n", StatusLine),
        ("HTTP/1.1 2x0 OK\r\n", StatusLine),
        ("HTTP/1.1\r\n", StatusLine),
        ("HTTP/1.2 200 OK\r\n", StatusLine),
        ("HTTP/2 200 OK\r\n", StatusLine),
        ("http/1.1 200 OK\r\n", StatusLine),
        (" HTTP/1.1 200 OK\r\n", StatusLine),
        ("\r\nHTTP/1.1 204 No\r\n", StatusLine),
    ] {
        for is_to_head in [false, true] {
            let (head, length) =
                AnswerHead::read(format!("{text}\r\nrest").as_bytes(), is_to_head).expect(text);
            assert_eq!((head, length), (Err(refusal), text.len() + 2), "{text:?}");
        }
    }
}

#[test]
fn interim_answers_are_followed_by_another_head() {
    for status in ["100 Continue", "102 Processing", "103 Early Hints", "199 x"] {
        let bytes = format!("HTTP/1.1 {status}\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n");
        let (head, length) = AnswerHead::read(bytes.as_bytes(), false).expect("a head");
        let head = head.expect("one that has a meaning");
        assert!(head.is_interim && head.persists, "{status}");
        assert!(bytes[length..].starts_with("HTTP/1.1 200"));
    }
    for announced in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n"] {
        let bytes = format!("HTTP/1.1 103 Early Hints\r\n{announced}\r\n");
        let (head, _) = AnswerHead::read(bytes.as_bytes(), false).expect("a head");
        assert_eq!(head.map(|head| (head.is_interim, head.persists)), Ok((true, false)), "{announced:?}");
    }
}

#[test]
fn a_head_is_read_once_its_end_has_come() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    for end in 0..bytes.len() {
        assert_eq!(AnswerHead::read(&bytes[..end], false), None, "{end}");
    }
    assert!(AnswerHead::read(bytes, false).is_some());
}

#[test]
fn how_long_an_app_keeps_a_connection() {
    for (values, seconds) in [
        (&["timeout=5"][..], Some(5)),
        (&["max=100, Timeout=7"], Some(7)),
        (&["timeout = \"7\""], Some(7)),
        (&["timeout=0"], Some(0)),
        // All of them are one list, and the least counts.
        (&["max=100", "timeout=9"], Some(9)),
        (&["timeout=9", "timeout=4"], Some(4)),
        (&["timeout=4, x, timeout=9"], Some(4)),
        (&["max=100"], None),
        (&["timeouts=5", "5", "x=timeout=5", ""], None),
        (&["timeout=99999999999999999999"], Some(u64::MAX)),
        // There is a bound, nobody knows which.
        (&["timeout=x"], Some(0)),
        (&["timeout"], Some(0)),
        (&["timeout=-5"], Some(0)),
        (&["timeout=5s"], Some(0)),
        (&["timeout=9", "timeout="], Some(0)),
    ] {
        let lines: Vec<_> = values.iter().map(|value| format!("Keep-Alive: {value}\r\n")).collect();
        let bytes = format!("HTTP/1.1 204 No\r\n{}\r\n", lines.concat());
        let (head, _) = AnswerHead::read(bytes.as_bytes(), false).expect("a head");
        let idle = head.expect("one that has a meaning").idle;
        assert_eq!(idle, seconds.map(Duration::from_secs), "{values:?}");
    }
}

#[test]
fn where_a_request_ends() {
    for (text, body, is_head) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n", BodyEnd::None, false),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n", BodyEnd::None, true),
        ("POST / HTTP/1.1\r\nContent-Length: 0\r\n", BodyEnd::None, false),
        ("POST / HTTP/1.1\r\ncontent-length: 7\r\n", BodyEnd::Length(7), false),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n", BodyEnd::Chunked, false),
        ("POST / HTTP/1.1\r\nContent-Length: 7\r\ntransfer-encoding: chunked\r\n", BodyEnd::Unknown, false),
        ("POST / HTTP/1.1\r\nContent-Length: 7\r\nContent-Length: 7\r\n", BodyEnd::Unknown, false),
    ] {
        let (head, length) = RequestHead::read(format!("{text}\r\nbody").as_bytes()).expect("a head");
        assert_eq!((head, length), (RequestHead { body, is_head }, text.len() + 2), "{text:?}");
    }
}
