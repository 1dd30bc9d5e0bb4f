use super::*;

fn writer(lifetime: Option<u64>) -> CookieWriter {
    CookieWriter::new(config::Cookies {
        access_token: "__Host-access_token".into(),
        refresh_token: "__Host-refresh_token".into(),
        same_site: config::SameSite::Lax,
        secure: true,
        domain: None,
        refresh_token_lifetime: lifetime.map(std::time::Duration::from_secs),
    })
}

fn texts(values: &[HeaderValue]) -> Vec<String> {
    values.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn attributes() {
    let cookies = texts(&writer(None).access_token("jwt", Presented::default()).unwrap());
    assert_eq!(cookies, ["__Host-access_token=jwt; HttpOnly; SameSite=Lax; Secure; Path=/"]);
    let cookies = texts(&writer(Some(60)).refresh_token("opaque", Presented::default()).unwrap());
    assert_eq!(cookies, ["__Host-refresh_token=opaque; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60"]);
}

#[test]
fn a_long_token_is_split_within_the_browsers_limit() {
    let cookies = texts(&writer(Some(60)).access_token(&"a".repeat(6000), Presented::default()).unwrap());
    assert_eq!(cookies.len(), 2);
    assert!(cookies.iter().all(|cookie| cookie.len() <= 4096), "{:?}", cookies.iter().map(String::len));
    assert!(cookies[1].starts_with("__Host-access_token.1=a"));
}

#[test]
fn leftovers_of_a_longer_token_are_cleared() {
    let presented = Presented { access_token: 3, refresh_token: 0 };
    let cookies = texts(&writer(None).access_token("jwt", presented).unwrap());
    assert_eq!(cookies.len(), 3);
    assert!(cookies[1].starts_with("__Host-access_token.1=;") && cookies[1].contains("Max-Age=0"));
    assert!(cookies[2].starts_with("__Host-access_token.2=;"));
}

#[test]
fn clearing_names_both_tokens_always() {
    let cookies = texts(&writer(None).clear(Presented::default()));
    assert_eq!(cookies.len(), 2);
    assert!(
        cookies
            .iter()
            .all(|cookie| cookie.contains("Max-Age=0") && cookie.contains("Expires=Thu, 01 Jan 1970"))
    );
}

#[test]
fn with_a_domain_the_host_only_cookie_of_before_goes() {
    let mut settings = writer(None).settings;
    settings.access_token = "at".into();
    settings.refresh_token = "rt".into();
    settings.domain = Some("example.com".into());
    let writer = CookieWriter::new(settings);
    let cookies = texts(&writer.access_token("jwt", Presented::default()).unwrap());
    assert_eq!(cookies.len(), 2);
    assert!(cookies[0].starts_with("at=jwt;") && cookies[0].contains("Domain=example.com"), "{cookies:?}");
    assert!(cookies[1].starts_with("at=;") && !cookies[1].contains("Domain"), "{cookies:?}");
    let cleared = texts(&writer.clear(Presented::default()));
    assert_eq!(cleared.len(), 4);
    assert_eq!(cleared.iter().filter(|cookie| cookie.contains("Domain=example.com")).count(), 2);
    let leftovers =
        texts(&writer.access_token("jwt", Presented { access_token: 2, refresh_token: 0 }).unwrap());
    assert_eq!(leftovers.iter().filter(|cookie| cookie.starts_with("at.1=;")).count(), 2, "{leftovers:?}");
}

#[test]
fn cookies_elsewhere_are_cleared_in_every_scope_that_reaches_this_host_and_path() {
    let mut settings = writer(None).settings;
    settings.access_token = "at".into();
    let writer = CookieWriter::new(settings);
    let names = ["at", "__Host-refresh_token"];
    let elsewhere = |host, path| texts(&writer.clear_elsewhere(&names, host, path));
    let scope = |cookie: &String| {
        assert!(cookie.starts_with("at=;") && cookie.contains("Max-Age=0"), "{cookie}");
        let attribute = |name| {
            let mut attributes = cookie.split("; ").filter_map(|attribute| attribute.strip_prefix(name));
            attributes.next().unwrap_or("-").to_owned()
        };
        (attribute("Domain="), attribute("Path="))
    };
    let scopes = |host, path| elsewhere(host, path).iter().map(scope).collect::<Vec<_>>();
    let pair = |domain: &str, path: &str| (domain.to_owned(), path.to_owned());
    assert_eq!(scopes("store.example.com", "/"), [pair("store.example.com", "/"), pair("example.com", "/")]);
    assert_eq!(scopes("localhost", "/"), []);
    assert_eq!(scopes("127.0.0.1", "/"), []);
    assert_eq!(scopes("::1", "/"), []);
    assert_eq!(scopes("store.co.uk", "/"), [pair("store.co.uk", "/")]);
    assert_eq!(
        scopes("127.0.0.1", "/api/user"),
        [pair("-", "/api"), pair("-", "/api/"), pair("-", "/api/user")]
    );
    let deep = "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z";
    assert_eq!(elsewhere("a.b.c.example.com", deep).len(), MAX_CLEARED_ELSEWHERE);
}
