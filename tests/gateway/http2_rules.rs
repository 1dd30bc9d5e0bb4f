//! Hosts, origins, preflights, logins and what trusted proxies say: over HTTP/2 as over HTTP/1.1.

use http::{Request, Version};

use crate::support::{Http2Client, World};

const NULL: (&str, &str) = ("origin", "null");
const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const PARTS: (&str, &str) = ("content-type", "Multipart/Form-Data; boundary=\"a b\"");
const OTHER: (&str, &str) = ("origin", "https://partner.example");
const ASKS: (&str, &str) = ("access-control-request-method", "PUT");

fn parts(fields: &[(&str, &str)]) -> String {
    let part = |(head, value): &(&str, &str)| {
        format!("--a b\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    };
    fields.iter().map(part).collect::<String>() + "--a b--"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_origins_preflights_and_logins_are_judged_as_over_http_1() {
    let (authority, world) = World::over_tls("").await;
    let mut user = Http2Client::start(&authority, &world).await;
    assert_eq!(user.log_in().await.status(), 200);
    let mut nobody = Http2Client::start(&authority, &world).await;
    let (ada, horse) = (("name=username", "ada"), ("name=\"password\"", "correct horse"));
    let twice = "username=ada&password=correct+horse&remember=0&remember=1";
    let checked = [ada, horse, ("name=me", "0"), ("name=me", "1"), ("name=f; filename=\"\"", "")];
    for (method, url, headers, body, status) in [
        ("POST", "store.localhost/api/cart", &[NULL, SAME_ORIGIN][..], "", 200),
        ("POST", "store.localhost/api/cart", &[NULL], "", 403),
        ("POST", "store.localhost/api/cart", &[NULL, ("sec-fetch-site", "cross-site")], "", 403),
        ("POST", "store.localhost/api/cart", &[("origin", "https://store.localhost:443")], "", 200),
        ("POST", "STORE.localhost.:443/api/cart", &[("origin", "https://store.localhost")], "", 200),
        ("POST", "store.localhost/api/cart", &[("origin", "https://store.localhost:80")], "", 403),
        ("POST", "store.localhost:8443/api/cart", &[("origin", "https://store.localhost")], "", 403),
        ("GET", "store.localhost../api/cart", &[], "", 400),
        ("OPTIONS", "store.localhost/api/cart", &[OTHER, ASKS], "", 200),
        ("OPTIONS", "store.localhost/api/login", &[OTHER, ASKS], "", 200),
        ("OPTIONS", "store.localhost/api/login", &[OTHER], "", 405),
        ("POST", "store.localhost/api/login", &[FORM], twice, 200),
        ("POST", "store.localhost/api/login", &[FORM], "username=ada&password=x&%75sername=eve", 400),
        ("POST", "store.localhost/api/login", &[PARTS], &parts(&checked), 200),
        ("POST", "store.localhost/api/login", &[PARTS], &parts(&[ada, horse, ada]), 400),
        (
            "POST",
            "store.localhost/api/login",
            &[PARTS],
            &parts(&[ada, ("name=password; filename=x", "x")]),
            400,
        ),
        ("POST", "store.localhost/api/login", &[PARTS], parts(&checked).trim_end_matches('-'), 400),
        ("POST", "store.localhost/api/logout", &[NULL], "", 403),
    ] {
        let request = || {
            let request =
                Request::builder().method(method).version(Version::HTTP_2).uri(format!("https://{url}"));
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        let cookies = user.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let with_cookies = request().header("cookie", cookies.join("; "));
        let body = Some(body).filter(|body| !body.is_empty());
        let logs_in = url.ends_with("/login") && method == "POST";
        // A login would end the session that it brings.
        let client = if logs_in { &mut nobody } else { &mut user };
        let answer = client.send(if logs_in { request() } else { with_cookies }, body).await.unwrap();
        assert_eq!(answer.status(), status, "{method} {url} {headers:?} {body:?}: {:?}", answer.body);
    }
    // What is no preflight needs a session.
    for headers in [&[][..], &[OTHER], &[ASKS], &[OTHER, ASKS, ("content-length", "1")]] {
        let request = Http2Client::start(&authority, &world).await.request("OPTIONS", "/api/cart");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let body = headers.contains(&("content-length", "1")).then_some("x");
        let mut stranger = Http2Client::start(&authority, &world).await;
        stranger.send(request, body).await.unwrap().assert_problem(401, "not_logged_in");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_is_believed_as_over_http_1() {
    let (authority, world) = World::over_tls("").await;
    let mut client = Http2Client::start(&authority, &world).await;
    for (name, lines, seen, expected) in [
        (
            "x-forwarded-for",
            &["6.6.6.6", "junk, 203.0.113.5:4711, "][..],
            "x-forwarded-for",
            "203.0.113.5, 127.0.0.1",
        ),
        ("x-forwarded-for", &["fe80::5%eth0"], "x-forwarded-for", "fe80::5, 127.0.0.1"),
        ("forwarded", &["for=\"[2001:db8::5]:_x\";by=\"a,b\""], "x-forwarded-for", "2001:db8::5, 127.0.0.1"),
        ("x-forwarded-host", &["evil.example"], "x-forwarded-host", "store.localhost"),
        (
            "x-forwarded-host",
            &["evil.example", "STORE.localhost:8443"],
            "x-forwarded-host",
            "STORE.localhost:8443",
        ),
        ("x-forwarded-proto", &["https", "http"], "x-forwarded-proto", "http"),
    ] {
        let request = client.request("GET", "/open/page");
        let request = lines.iter().fold(request, |request, line| request.header(name, *line));
        assert_eq!(client.send(request, None).await.unwrap().status(), 200, "{name} {lines:?}");
        assert_eq!(world.store.last("/open/page").head.get(seen), Some(expected), "{name} {lines:?}");
    }
}
