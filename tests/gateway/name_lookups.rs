//! Look-ups of host names: how many are made, and what does not wait for them.

use std::time::Instant;

use crate::moved_upstreams::{CLOSE, Moving, NAME, NEVER, ip, served_by};
use crate::support::names::Says;
use crate::support::port::neighbours;
use crate::support::{App, Reply, World, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_does_not_answer_holds_up_no_request_on_a_living_connection() {
    let moving = Moving::start("[apps.store]\nresolve_interval = '1s'").await;
    let world = &moving.world;
    let mut browser = world.browser();
    browser.get("/open/page").await.assert_status(200);
    let before = world.names.asked(NAME).len();
    world.names.set(NAME, Says::Silence);
    world.names.asked_beyond(NAME, before).await;
    for _ in 0..200 {
        assert_eq!(browser.get("/open/page").await.json()["app"], "old");
    }
    let connections: Vec<_> = moving.old.seen().iter().map(|seen| seen.connection).collect();
    assert!(connections.iter().all(|connection| *connection == connections[0]), "{connections:?}");
    // A new connection waits for a while, then takes what was known last.
    moving.old.listening().down();
    moving.old.listening().up().await;
    browser.get("/open/page").await.assert_status(200);
    assert_eq!(world.names.asked(NAME).len(), before + 1, "one look-up at a time");
    // What it says in the end counts.
    moving.point(&[&moving.new]);
    served_by(world, "new").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_looked_up_once_a_second_however_many_connections_are_made() {
    let moving = Moving::start(NEVER).await;
    let world = &moving.world;
    moving.old.on("/open/page", Reply::RawThenClose(CLOSE.to_vec()));
    let started = Instant::now();
    let before = world.names.asked(NAME).len();
    let mut browser = world.browser();
    for _ in 0..150 {
        browser.get("/open/page").await.assert_status(200);
    }
    moving.old.listening().down();
    for _ in 0..3 {
        browser.get("/open/page").await.assert_problem(502, "upstream_unavailable");
    }
    let asked = world.names.asked(NAME);
    let metrics = world.gateway.metrics().await;
    let counted = metrics
        .lines()
        .find(|line| line.contains("name_lookups_total{host=\"shop.test\",outcome=\"found\"}"));
    assert!(counted.is_some(), "{metrics}");
    let most = usize::try_from(started.elapsed().as_secs()).unwrap() + 11;
    assert!(asked.len() - before <= most, "{} look-ups, at most {most}", asked.len() - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_at_the_same_name_share_its_look_ups() {
    let [old] = neighbours();
    let old = App::at("old", old).await;
    let url = format!("http://{NAME}:{}", old.listening().address().port());
    let toml = format!(
        "{NEVER}upstreams = ['{url}']\n[apps.forums]\nupstreams = ['{url}']\nresolve_interval = '1h'"
    );
    let builder = World::builder().await.lay_over(&toml);
    builder.names.point(NAME, &[ip(&old)]);
    let world = builder.start().await;
    world.browser().get("/open/page").await.assert_status(200);
    world.forums_browser().get("/open/page").await.assert_status(200);
    let asked = world.names.asked(NAME);
    assert!(asked.windows(2).all(|pair| (pair[1] - pair[0]).as_millis() >= 1000), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_do_not_bring_an_old_address_back() {
    let check = "[apps.store]\nresolve_interval = '1s'\n[apps.store.health_check]\ninterval = '20ms'\npath = '/healthy'\n";
    let moving = Moving::start(check).await;
    let checks = |app: &App| app.seen().iter().filter(|seen| seen.target() == "/healthy").count();
    wait_for("a check of the old one", || checks(&moving.old) > 0).await;
    moving.point(&[&moving.new]);
    wait_for("a check of the new one", || checks(&moving.new) > 0).await;
    served_by(&moving.world, "new").await;
    // One may have been under way.
    let (before, old) = (checks(&moving.new), moving.old.heads());
    wait_for("more checks of the new one", || checks(&moving.new) >= before + 10).await;
    assert!(moving.old.heads() <= old + 1, "{} after {old}", moving.old.heads());
    let metrics = moving.world.gateway.metrics().await;
    let shown: Vec<_> =
        metrics.lines().filter(|line| line.contains("upstream_healthy{app=\"store\"")).collect();
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(shown[0].contains(&ip(&moving.new).to_string()), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_what_is_known_of_a_name() {
    let moving = Moving::start(NEVER).await;
    let world = &moving.world;
    let mut browser = world.browser();
    browser.get("/open/page").await.assert_status(200);
    world.reload("[apps.store.timeouts]\nidle = '1m'").await;
    browser.get("/open/page").await.assert_status(200);
    let asked = world.names.asked(NAME);
    assert!(asked.windows(2).all(|pair| (pair[1] - pair[0]).as_millis() >= 1000), "{asked:?}");
}
