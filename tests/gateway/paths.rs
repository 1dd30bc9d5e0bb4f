//! Targets and hosts that must not be taken for others.

use crate::support::World;
use crate::support::client::raw;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_that_could_mean_another_are_400_and_never_reach_the_app() {
    let world = World::with("[[apps.store.routes]]\npath = \"/*\"\naccess = \"public\"").await;
    let odd = [
        "/open/../api/admin",
        "/open/..",
        "/open/.",
        "/./api",
        "/open/%2e%2e/api",
        "/open/%2E./api",
        "/open/.%2e/api",
        "/..",
        "//api/admin",
        "/open//x",
        "/open/x//",
        "/open%2fx",
        "/open%2Fx",
        "/open/%5cx",
        "/open\\x",
        "/open/;x",
        "/open/x;v=1",
        "/open/..;/api",
        "/open/%3bx",
        "/open/%252e",
        "/open/%25%32%65",
        "/open/%252%65",
        "/open/%2500",
        "/open/%00",
        "/open/%0a",
        "/open/%0d%0aX-Auth-User:%20root",
        "/open/%7f",
        "/open/%c0%ae%c0%ae/x",
        "/open/%e0%80%af",
        "/open/%",
        "/open/%4",
        "/open/%zz",
        "/open/#x",
        "/open#/../api",
    ];
    let mut browser = world.browser();
    for path in odd {
        let answer = browser.get(path).await;
        assert_eq!(answer.status(), 400, "{path}: {}", answer.text());
        answer.assert_problem(400, "bad_request");
    }
    assert_eq!(world.store.heads(), 0);
    for path in [
        "/open/a.b..c/...",
        "/open/%20x%C3%A9",
        "/open/caf\u{e9}%41",
        "/open/x?a=../..//;%00&b=%2f%zz",
        "/open/:@!$&'()*+,=",
    ] {
        let answer = browser.get(path).await;
        if answer.status() != 400 || path.is_ascii() {
            assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
            assert_eq!(answer.json()["target"], path, "forwarded as it came");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_in_other_forms() {
    let world = World::start().await;
    let send = |line: &str, host: &str| raw(world.gateway.address, format!("{line}\r\nHost: {host}\r\n\r\n"));
    let (answer, _) = send("GET http://store.localhost/open/page?q=1 HTTP/1.1", "store.localhost").await;
    let answer = answer.expect("absolute form is fine (RFC 9112 section 3.2.2)");
    answer.assert_status(200);
    assert_eq!(answer.json()["target"], "/open/page?q=1");
    for (line, host) in [
        ("GET http://forums.localhost/open/page HTTP/1.1", "store.localhost"),
        ("GET http://user@store.localhost/open/page HTTP/1.1", "store.localhost"),
        ("GET * HTTP/1.1", "store.localhost"),
        ("GET open/page HTTP/1.1", "store.localhost"),
        ("GET ?x HTTP/1.1", "store.localhost"),
        ("GET ftp://store.localhost/open/page HTTP/1.1", "store.localhost"),
    ] {
        let (answer, _) = send(line, host).await;
        answer.unwrap_or_else(|| panic!("{line}: no answer")).assert_problem(400, "bad_request");
    }
    assert_eq!(world.store.heads(), 1);
    assert_eq!(world.forums.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_compare_without_port_and_case() {
    let world = World::start().await;
    for (host, status) in [
        ("store.localhost", 200),
        ("STORE.localhost", 200),
        ("store.localhost:8080", 200),
        ("xstore.localhost", 404),
        ("store.localhost.evil.example", 404),
        ("127.0.0.1", 404),
        ("localhost", 404),
    ] {
        let mut browser = world.browser();
        browser.host = host.into();
        assert_eq!(browser.get("/").await.status(), status, "{host}");
    }
}

const PIECES: [&str; 40] = [
    "/",
    "/",
    "/",
    "open",
    "open/",
    "OPEN",
    "api",
    "admin",
    "either",
    ".",
    "..",
    "%2e",
    "%2E",
    "%2f",
    "%5c",
    "\\",
    ";",
    "%3b",
    "%25",
    "%",
    "%4",
    "%41",
    "%61",
    "%70",
    "//",
    "?",
    "?x=/../",
    "#",
    "%00",
    "%c0%af",
    "%e2%80%8b",
    "~",
    "!",
    "*",
    "+",
    "%20",
    ":",
    "@",
    "%7f",
    "x",
];

/// Asserts that a decoded path belongs to an open route and cannot mean another.
fn assert_is_open(path: &str, target: &str) {
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let is_open = path == "/"
        || [&b"/open"[..], b"/either"].iter().any(|prefix| {
            decoded.strip_prefix(*prefix).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        });
    assert!(is_open, "{target} was let through without a session");
    let segments = || decoded.split(|&byte| byte == b'/');
    assert!(!segments().any(|segment| matches!(segment, b"." | b"..")), "{target}");
    assert!(!decoded.iter().any(|byte| b"\\;".contains(byte) || byte.is_ascii_control()), "{target}");
}

/// Targets of bytes that have a meaning to somebody. The app gets the target that the rules saw, byte by byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_let_through_arrives_as_it_came() {
    let world = World::start().await;
    let mut browser = world.browser();
    let mut random = fastrand::Rng::with_seed(0x9e37_79b9_7f4a_7c15);
    let mut passed = 0;
    for _ in 0..3000 {
        let start = ["/open/", "/either/", "/", "/open"][random.usize(..4)];
        let target: String = (0..=random.usize(..5)).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        let target = format!("{start}{target}");
        let before = world.store.heads();
        let answer = browser.get(&target).await;
        let path = target.split('?').next().unwrap();
        if answer.status() == 200 {
            passed += 1;
            assert_eq!(answer.json()["target"], target);
            assert_is_open(path, &target);
        } else {
            assert!(matches!(answer.status(), 400 | 401), "{target}: {}", answer.head.first_line);
            assert_eq!(world.store.heads(), before, "{target}");
        }
    }
    assert!(passed > 300, "only {passed} paths were let through");
}
