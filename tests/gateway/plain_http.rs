//! Browsers silently drop the cookies of a login over plain HTTP. The program warns of such logins.

use std::path::Path;

use tokio::process::Command;

use crate::support::program::Program;
use crate::support::{Browser, Request, World};

/// Returns how often the log warns of plain HTTP after two logins at `host`.
async fn words_of_login(settings: &str, host: &str, proto: Option<&str>) -> usize {
    let hosts = format!("[apps.store]\nhosts = [\"store.localhost\", \"{host}\"]\n");
    let builder = World::builder().await.lay_over(&hosts).lay_over(settings);
    let (program, _builder) = Program::start_quietly(builder).await;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    for host in [host.clone(), format!("{}:8080", host.to_uppercase())] {
        let mut login = Request::post("/api/login").form("username=ada&password=correct+horse");
        if let Some(proto) = proto {
            login = login.header("X-Forwarded-Proto", proto);
        }
        Browser::new(program.address, &host).send(login).await.assert_status(200);
    }
    let log = program.end().await;
    log.lines().filter(|line| line.contains("a login came by plain http") && line.contains("WARN")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_login_whose_cookies_browsers_drop_is_in_the_log() {
    let proxy = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let plain = "[apps.store.cookies]\nsecure = false\naccess_token = \"a\"\nrefresh_token = \"r\"\n";
    for (settings, host, proto, words) in [
        ("", "store.example.com", None, 1),
        ("", "192.0.2.7", None, 1),
        ("", "2001:db8::7", None, 1),
        ("", "store.example.com", Some("https"), 1),
        (proxy, "store.example.com", Some("https"), 0),
        (proxy, "store.example.com", Some("http"), 1),
        (proxy, "store.example.com", None, 1),
        (plain, "store.example.com", None, 0),
        ("", "shop.localhost", None, 0),
        ("", "127.0.0.1", None, 0),
        ("", "::1", None, 0),
    ] {
        assert_eq!(words_of_login(settings, host, proto).await, words, "{host} {proto:?} {settings}");
    }
}

async fn explained(file: &Path, url: &str) -> String {
    let program = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["explain", "--config"])
        .arg(file)
        .args(["POST", url])
        .output()
        .await
        .unwrap();
    String::from_utf8(program.stdout).unwrap()
}

#[tokio::test]
async fn explain_says_which_logins_are_forgotten() {
    let hosts =
        "[apps.store]\nhosts = [\"store.localhost\", \"store.example.com\", \"127.0.0.1\", \"192.0.2.7\"]\n";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, World::builder().await.lay_over(hosts).text()).unwrap();
    for (url, is_said) in [
        ("http://store.example.com/api/login", true),
        ("ws://store.example.com:8080/socket", true),
        ("http://192.0.2.7/api/login", true),
        ("https://store.example.com/api/login", false),
        ("http://store.localhost/api/login", false),
        ("http://127.0.0.1:8080/api/login", false),
    ] {
        let text = explained(&file, url).await;
        assert_eq!(text.contains("a login is forgotten"), is_said, "{text}");
    }
}
