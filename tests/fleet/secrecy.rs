//! Nothing that is readable reaches the engine: no token, no user, no address, no host.

use std::collections::BTreeSet;

use crate::harness::load::ACCESS;
use crate::harness::{Engine, Fleet, Plan};
use crate::support::{Browser, Endpoint, Request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dump_and_all_commands_show_nothing() {
    let engine = Engine::start().await;
    let log = engine.monitor().await;
    let plan = Plan::shared(&engine.url()).await.lay_over("[session]\nseal_keys = []");
    plan.provider.set(|settings| settings.claims = serde_json::json!({"sid": "sid-of-the-session"}));
    let fleet = plan.start().await;
    let mut secrets = BTreeSet::new();
    let mut browsers = Vec::new();
    for number in 0..3 {
        let browser = fleet.logged_in(number, &format!("canary{number}")).await;
        remember(&mut secrets, &browser);
        browsers.push(browser);
    }
    fleet.replicas[0].browser().try_log_in("canary0", "wrong-password-canary").await.assert_status(401);
    for (number, browser) in browsers.iter_mut().enumerate() {
        fleet.expired(browser).await;
        let mut tab = fleet.tab(browser, (number + 1) % 3);
        tab.get("/api/cart").await.assert_status(200);
        remember(&mut secrets, &tab);
        *browser = tab;
    }
    browsers[0].send(Request::post("/api/logout")).await.assert_status(204);
    fleet.revoke(1, "id-of-canary1").await;
    fleet.revoke(1, "id-of-nobody").await;
    fleet.provider.end_all_sessions();
    fleet.expired(&browsers[2]).await;
    browsers[2].get("/api/cart").await.assert_status(401);
    for call in fleet.provider.calls(Endpoint::Refresh) {
        secrets.insert(call.field("refresh_token").expect("a token").to_owned());
    }

    let dump = engine.save().await;
    let keys = engine.keys().await;
    assert!(keys.len() > 3 && keys.iter().all(|key| key.starts_with("{portcullis}")), "{keys:?}");
    let commands = without_addresses(&log.lock().unwrap());
    assert!(commands.len() > 1000 && dump.len() > 100);
    secrets.extend(readable());
    for (name, bytes) in [("the dump", &dump), ("the commands", &commands)] {
        for secret in &secrets {
            let found =
                bytes.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret.as_bytes()));
            assert!(!found, "`{secret}` is in {name}");
        }
    }
}

/// Two fleets may share an engine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleets_with_other_prefixes_do_not_see_each_other() {
    let engine = Engine::start().await;
    let one = Fleet::start(&engine.url()).await;
    let other = Fleet::with(&engine.url(), "[shared_state]\nprefix = 'another'").await;
    let browser = one.logged_in(0, "ada").await;
    let stranger = other.logged_in(0, "ada").await;
    one.expired(&browser).await;
    one.tab(&browser, 1).get("/api/cart").await.assert_status(200);
    other.expired(&stranger).await;
    other.tab(&stranger, 1).get("/api/cart").await.assert_status(200);
    let keys = engine.keys().await;
    assert!(keys.iter().any(|key| key.starts_with("{portcullis}")), "{keys:?}");
    assert!(keys.iter().any(|key| key.starts_with("{another}")), "{keys:?}");
}

/// The values of the cookies, and the parts of the JWT: each is as good as the whole.
fn remember(secrets: &mut BTreeSet<String>, browser: &Browser) {
    secrets.extend(browser.jar.values().cloned());
    secrets.extend(browser.jar[ACCESS].split('.').skip(1).map(str::to_owned));
}

/// Words that come in tokens, requests and the configuration.
fn readable() -> Vec<String> {
    let words = ["canary", "id-of-", "@example.com", "127.0.0.1", "localhost", "wrong-password", "sid-of"];
    let mut words: Vec<_> = words.into_iter().map(str::to_owned).collect();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux");
    // A name of few letters may come by chance.
    words.extend(Some(host.trim().to_owned()).filter(|host| host.len() >= 6));
    words
}

/// Takes the part out of each line of MONITOR that names the client: `1700000000.123456 [0 127.0.0.1:1234] "GET" ..`.
fn without_addresses(log: &[u8]) -> Vec<u8> {
    let lines = log.split(|byte| *byte == b'\n');
    let commands = lines.filter_map(|line| line.splitn(2, |byte| *byte == b']').nth(1));
    commands.collect::<Vec<_>>().join(&b'\n')
}
