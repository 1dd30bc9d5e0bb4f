use super::*;

/// `X-Forwarded-For`, `-Host`, `-Proto` and `Forwarded` for the app of `shop.example.com`.
fn origin(peer: &str, headers: &[(&'static str, &str)]) -> Vec<String> {
    let bytes: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    origin_of_bytes(peer, &bytes)
}

fn origin_of_bytes(peer: &str, headers: &[(&'static str, &[u8])]) -> Vec<String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    }
    let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
    let host = HeaderValue::from_static("store.example.com:8080");
    let origin = Origin::new(&map, peer.parse().unwrap(), false, &trusted);
    let host = origin.host(&map, &host, |claimed| claimed == "shop.example.com");
    origin.headers(host).iter().map(|(_, value)| value.to_str().unwrap().to_owned()).collect()
}

/// Returns the chain behind a trusted peer, as the app learns it.
fn chain(name: &'static str, lines: &[&[u8]]) -> String {
    let headers: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
    origin_of_bytes("10.0.0.1:5000", &headers).swap_remove(0)
}

#[test]
fn a_client_says_nothing_about_itself() {
    let spoofed =
        [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
    assert_eq!(
        origin("192.0.2.1:5000", &spoofed),
        [
            "192.0.2.1",
            "store.example.com:8080",
            "http",
            "for=192.0.2.1;host=\"store.example.com:8080\";proto=http"
        ]
    );
}

#[test]
fn a_connection_remembers_its_headers_for_one_host_only() {
    let (direct, peer) = (DirectOrigin::default(), "192.0.2.1:5000".parse().unwrap());
    for host in ["store.example.com", "forums.example.com", "store.example.com"] {
        let host = HeaderValue::from_static(host);
        let anew = Origin::new(&HeaderMap::new(), peer, true, &[]).headers(host.clone());
        assert_eq!(direct.headers(peer, true, &host), anew);
    }
}

#[test]
fn a_trusted_chain_is_believed_up_to_the_first_stranger() {
    let headers = [
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example.com"),
    ];
    assert_eq!(
        origin("10.0.0.1:5000", &headers),
        [
            "192.0.2.7, 10.0.0.9, 10.0.0.1",
            "shop.example.com",
            "https",
            "for=192.0.2.7;host=\"shop.example.com\";proto=https"
        ]
    );
}

#[test]
fn forwarded_counts_where_there_is_no_x_forwarded_for() {
    let headers = [("forwarded", "for=6.6.6.6, for=\"[2001:db8::1]:4711\";proto=https, For=10.0.0.9")];
    assert_eq!(origin("10.0.0.1:5000", &headers)[0], "2001:db8::1, 10.0.0.9, 10.0.0.1");
}

#[test]
fn a_chain_is_read_from_the_right_one_element_after_the_other() {
    for (lines, expected) in [
        // What stands left of the client is a stranger's word, whatever it is made of.
        (&[&b"\xff, 203.0.113.5"[..]][..], "203.0.113.5, 10.0.0.1"),
        (&[b"\x80\xfe", b"203.0.113.5"], "203.0.113.5, 10.0.0.1"),
        (&[b"<script>, 203.0.113.5, 10.0.0.9"], "203.0.113.5, 10.0.0.9, 10.0.0.1"),
        (&[b"\", 203.0.113.5"], "203.0.113.5, 10.0.0.1"),
        // Empty elements are none (RFC 9110 section 5.6.1).
        (&[b"203.0.113.5, , 10.0.0.9,"], "203.0.113.5, 10.0.0.9, 10.0.0.1"),
        (&[b"203.0.113.5", b"", b" ,\t"], "203.0.113.5, 10.0.0.1"),
        (&[b""], "10.0.0.1"),
        // Every way to write an address.
        (&[b"203.0.113.5:4711"], "203.0.113.5, 10.0.0.1"),
        (&[b"2001:db8::1"], "2001:db8::1, 10.0.0.1"),
        (&[b"[2001:db8::1]"], "2001:db8::1, 10.0.0.1"),
        (&[b"[2001:db8::1]:4711"], "2001:db8::1, 10.0.0.1"),
        (&[b"2001:DB8:0::1"], "2001:db8::1, 10.0.0.1"),
        (&[b"::ffff:203.0.113.5, 10.0.0.9:80"], "203.0.113.5, 10.0.0.9, 10.0.0.1"),
        (&[b"fe80::1%eth0, 10.0.0.9"], "fe80::1, 10.0.0.9, 10.0.0.1"),
        (&[b"[fe80::1%25eth0]:4711"], "fe80::1, 10.0.0.1"),
        (&[b"203.0.113.5, fe80::1%"], "10.0.0.1"),
        (&[b"203.0.113.5, 1.2.3.4%eth0"], "10.0.0.1"),
        // What is no address ends the chain: it is not skipped, or its left neighbour would be believed.
        (&[b"203.0.113.5, unknown"], "10.0.0.1"),
        (&[b"203.0.113.5, \xff, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
        (&[b"203.0.113.5, _hidden, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
        (&[b"203.0.113.5, 1.2.3, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
        (&[b"203.0.113.5, 1.2.3.4:x, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
        (&[b"203.0.113.5, [::1, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
        (&[b"203.0.113.5, [::1]x, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
        (&[b"203.0.113.5, 198.51.100.1 10.0.0.9"], "10.0.0.1"),
    ] {
        let shown: Vec<_> = lines.iter().map(|line| line.escape_ascii().to_string()).collect();
        assert_eq!(chain("x-forwarded-for", lines), expected, "{shown:?}");
    }
}

#[test]
fn so_is_forwarded() {
    for (lines, expected) in [
        (&[&b"for=\xff, for=203.0.113.5"[..]][..], "203.0.113.5, 10.0.0.1"),
        (&[b"for=\", for=203.0.113.5;proto=https"], "203.0.113.5, 10.0.0.1"),
        (&[b"for=6.6.6.6", b", For=\"203.0.113.5:80\" ;by=x,"], "203.0.113.5, 10.0.0.1"),
        (&[b"for=6.6.6.6, by=\"a,b\";for=203.0.113.5"], "203.0.113.5, 10.0.0.1"),
        (&[b"for=203.0.113.5;by=\"a\\\",b;for=6.6.6.6\""], "203.0.113.5, 10.0.0.1"),
        (&[b"for=\"[2001:db8::1]:_port\""], "2001:db8::1, 10.0.0.1"),
        (&[b"for=[2001:db8::1]"], "2001:db8::1, 10.0.0.1"),
        (&[b"for=6.6.6.6, for=unknown"], "10.0.0.1"),
        (&[b"for=6.6.6.6, by=10.0.0.7"], "10.0.0.1"),
        (&[b"for=6.6.6.6;for=203.0.113.5"], "10.0.0.1"),
    ] {
        let shown: Vec<_> = lines.iter().map(|line| line.escape_ascii().to_string()).collect();
        assert_eq!(chain("forwarded", lines), expected, "{shown:?}");
    }
}

#[test]
fn the_host_is_one_of_the_apps_or_that_of_the_request() {
    for (lines, expected) in [
        (&[&b"shop.example.com"[..]][..], "shop.example.com"),
        (&[b"evil.example, shop.example.com"], "shop.example.com"),
        (&[b"\xff, shop.example.com ,"], "shop.example.com"),
        (&[b"shop.example.com, evil.example"], "store.example.com:8080"),
        (&[b"shop.example.com", b"evil.example"], "store.example.com:8080"),
        (&[b"a\"b"], "store.example.com:8080"),
        (&[b"\xff"], "store.example.com:8080"),
        (&[b""], "store.example.com:8080"),
    ] {
        let headers: Vec<_> = lines.iter().map(|line| ("x-forwarded-host", *line)).collect();
        assert_eq!(origin_of_bytes("10.0.0.1:1", &headers)[1], expected);
        assert_eq!(origin_of_bytes("192.0.2.1:1", &headers)[1], "store.example.com:8080");
    }
}

#[test]
fn the_scheme_is_http_or_https() {
    for (lines, expected) in [
        (&[&b"https"[..]][..], "https"),
        (&[b"HTTPS"], "https"),
        (&[b"http, https"], "https"),
        (&[b"https, http"], "http"),
        (&[b"\xff, https,"], "https"),
        // Some proxies name the scheme of a WebSocket (RFC 6455 section 3).
        (&[b"wss"], "https"),
        (&[b"ws"], "http"),
        // Nothing is known of these, so the connection counts.
        (&[b"javascript"], "http"),
        (&[b""], "http"),
    ] {
        let headers: Vec<_> = lines.iter().map(|line| ("x-forwarded-proto", *line)).collect();
        assert_eq!(origin_of_bytes("10.0.0.1:1", &headers)[2], expected);
    }
}
