//! `portcullis explain --cookies`, with the cookies of a running gateway: the same verdict as the gateway's.

use std::path::Path;

use tokio::process::Command;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::provider::Provider;
use crate::support::{Answer, Browser, Endpoint, World};

/// An access token of the test provider lives for less.
const EXPIRED: u64 = 400;

/// Returns what the gateway did, in the words of `explain`. Only the provider knows the outcome of a refresh.
fn verdict(answer: &Answer, refreshes: usize) -> String {
    if refreshes > 0 {
        return String::from("a refresh");
    }
    let cleared = answer.set_cookies().iter().all(super::support::set_cookie::SetCookie::clears);
    let cleared = if cleared && !answer.set_cookies().is_empty() { ", both cookies cleared" } else { "" };
    let what = match (answer.status(), answer.json().get("headers")) {
        (200, None) => String::from("200 with the user object"),
        (200, Some(headers)) if headers.get("x-auth-user").is_some() => {
            String::from("the app's, with the user")
        }
        (200, Some(_)) => String::from("the app's, without"),
        (status, _) => format!("{status} {}", answer.json()["code"].as_str().unwrap_or_default()),
    };
    what + cleared
}

/// Returns what `explain` expects, in the same words.
fn expected(explained: &str) -> String {
    let line = |name: &str| {
        let mut lines = explained.lines().map(str::trim).filter(|line| line.starts_with(name));
        lines.next_back().unwrap_or_else(|| panic!("no `{name}` in {explained}"))[name.len()..]
            .trim()
            .to_owned()
    };
    let answer = line("answer");
    let cleared = if answer.contains("both cookies cleared") { ", both cookies cleared" } else { "" };
    match answer.as_str() {
        refresh if refresh.starts_with("first a refresh grant") => String::from("a refresh"),
        told if told.starts_with("the app's, which is told:") => String::from("the app's, with the user"),
        told if told.starts_with("the app's, which is told nothing") => {
            format!("the app's, without{cleared}")
        }
        other => other.to_owned(),
    }
}

async fn explain(directory: &Path, cookies: &Browser, url: &str) -> String {
    let file = directory.join("cookies");
    std::fs::write(&file, cookies.cookie_header().unwrap_or_default()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["explain", "--config"])
        .arg(directory.join("gateway.toml"))
        .args(["GET", url, "--cookies"])
        .arg(&file)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Every way in which a browser may bring the cookies of sessions, as it is known to the gateway's own tests.
async fn browsers(world: &World, access: &str, refresh: &str) -> Vec<(&'static str, Browser)> {
    let without = |browser: &Browser, name: &str| {
        let mut other = browser.clone();
        other.jar.retain(|cookie, _| cookie != name && !cookie.starts_with(&format!("{name}.")));
        other
    };
    let mut old = Vec::new();
    for name in
        ["old", "old refresh token alone", "old JWT alone", "old JWT, new refresh token", "of another"]
    {
        old.push((name, world.logged_in("ada").await));
    }
    world.clock.advance(EXPIRED);
    let mut all = vec![("nothing", world.browser()), ("new", world.logged_in("new").await)];
    all.push(("new JWT alone", without(&world.logged_in("jwt-alone").await, refresh)));
    all.push(("new refresh token alone", without(&world.logged_in("refresh-alone").await, access)));
    let mut mixed = without(&world.logged_in("mixed").await, refresh);
    let other = without(&world.logged_in("other").await, access);
    mixed.jar.extend(other.jar);
    all.push(("new JWT and refresh token of two sessions", mixed));
    let mut forums = world.forums_browser();
    forums.log_in("ada").await;
    let mut strange = world.browser();
    strange.jar = forums.jar;
    all.push(("another app's", strange));
    let mut junk = world.browser();
    junk.jar.insert(refresh.to_owned(), String::from("junk"));
    all.push(("junk", junk));
    for (name, mut browser) in old {
        match name {
            "old refresh token alone" => browser = without(&browser, access),
            "old JWT alone" => browser = without(&browser, refresh),
            "old JWT, new refresh token" => {
                browser = without(&browser, refresh);
                browser.jar.extend(without(&world.logged_in("ada").await, access).jar);
            }
            "of another" => {
                browser = without(&browser, access);
                browser.jar.extend(without(&world.logged_in("thief").await, refresh).jar);
            }
            _ => {}
        }
        all.push((name, browser));
    }
    all
}

/// A key of 32 bytes.
const SEALED: &str = "[session]\nseal_keys = [\"c2VhbCBrZXkgb2YgdGVzdHMsIHNlYWwga2V5IG9mIHQ=\"]\n";

/// Other names, which are not bound to one host.
const RENAMED: &str = "[apps.store.cookies]\naccess_token = \"jwt\"\nrefresh_token = \"again\"\n";

/// Compares all ways in which cookies may come, with these settings.
async fn compare(settings: &str, padding: usize, path: &str) {
    let (access, refresh) = if settings.contains(RENAMED) { ("jwt", "again") } else { (ACCESS, REFRESH) };
    let builder = World::builder_before(EXPIRED).await;
    let other = Provider::start(builder.clock.clone()).await;
    // The store is at neither the first provider nor the first app.
    let provider = format!("[identity_providers.another]\nissuer = \"{}\"\n", other.issuer());
    let apps = "[apps.store]\nidentity_provider = \"main\"\n[apps.forums]\nidentity_provider = \"main\"\n";
    let builder = builder.lay_over(settings).lay_over(&provider).lay_over(apps);
    builder.provider.set(|settings| (settings.padding, settings.refresh_padding) = (padding, padding));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("gateway.toml"), builder.text()).unwrap();
    let world = builder.start().await;
    for (name, mut browser) in browsers(&world, access, refresh).await {
        let text = explain(directory.path(), &browser, &format!("http://store.localhost{path}")).await;
        let before = world.provider.count(Endpoint::Refresh);
        let answer = browser.get(path).await;
        let done = verdict(&answer, world.provider.count(Endpoint::Refresh) - before);
        assert_eq!(expected(&text), done, "{name}, {path}, {settings}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_cookies_are_worth_the_same_to_explain_as_to_the_gateway() {
    compare(SEALED, 0, "/api/user").await;
    compare(SEALED, 6_000, "/either/page").await;
    compare(&format!("{SEALED}bind_refresh = false\n"), 0, "/api/user").await;
    compare(&format!("{SEALED}absolute_lifetime = \"2h\"\nidle_lifetime = \"1h\"\n"), 0, "/cart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_of_other_names_are_worth_the_same_to_explain_as_to_the_gateway() {
    compare(&format!("{SEALED}{RENAMED}secure = false\n"), 0, "/api/user").await;
    compare(&format!("{SEALED}{RENAMED}domain = \"store.localhost\"\n"), 6_000, "/either/page").await;
    compare(RENAMED, 0, "/cart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_cookies_are_worth_the_same_to_explain_as_to_the_gateway() {
    compare("[session]\nbind_refresh = true\n", 0, "/api/user").await;
    compare("[session]\nbind_refresh = true\n", 6_000, "/either/page").await;
    compare("", 6_000, "/api/user").await;
}
