//! Reloads as they go wrong in practice: files are half written, swapped or gone, and signals come in a hail. No
//! request fails, and the last good configuration serves.

use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::support::load::Load;
use crate::support::program::Program;
use crate::support::{Browser, Endpoint, Fault, SEALED, World, patiently, wait_for};

const WATCH: &str = "[server]\nwatch_config = true";
/// A program under load, and its configuration.
struct Stage {
    program: Program,
    text: String,
    load: Load,
    _builder: crate::support::gateway::Builder,
}

impl Stage {
    async fn set(toml: &str) -> Self {
        let (program, builder) = Program::start(World::builder().await.lay_over(toml)).await;
        let mut browser = Browser::new(program.address, "store.localhost");
        browser.log_in("ada").await;
        let load = Load::start(vec![browser.clone(), browser]);
        let text = std::fs::read_to_string(program.file("gateway.toml")).unwrap();
        Self { program, text, load, _builder: builder }
    }

    /// The configuration, and a path that only this one has open.
    fn with_open_path(&self, name: &str) -> String {
        self.text.replace("\"/open/*\"", &format!("\"/{name}/*\""))
    }

    /// Waits until a path is open, which the configuration before did not have.
    async fn serves(&self, name: &str) {
        let mut browser = Browser::new(self.program.address, "store.localhost");
        patiently(&format!("/{name}"), async {
            while browser.get(&format!("/{name}/x")).await.status() != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Returns the number of configurations that were refused until now.
    fn refused(&self) -> usize {
        let log = std::fs::read_to_string(self.program.file("log")).unwrap();
        log.matches("reload refused").count()
    }

    /// Nobody has noticed.
    async fn end(self) -> String {
        let (requests, connections) = self.load.stop().await;
        assert!(requests > 0 && connections == 2, "{requests} {connections}");
        self.program.end().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_replaced_halved_lost_and_no_file() {
    let stage = Stage::set(WATCH).await;
    let file = stage.program.file("gateway.toml");
    let renamed = |name: &str| {
        let next = stage.program.file("gateway.toml.new");
        std::fs::write(&next, stage.with_open_path(name)).unwrap();
        std::fs::rename(next, &file).unwrap();
    };
    renamed("renamed");
    stage.serves("renamed").await;

    // Written in two halves, with a long pause: refused meanwhile, taken in the end.
    let whole = stage.with_open_path("halved");
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    wait_for("a refusal", || stage.refused() == 1).await;
    stage.serves("renamed").await;
    std::fs::write(&file, &whole).unwrap();
    stage.serves("halved").await;

    std::fs::remove_file(&file).unwrap();
    wait_for("a refusal", || stage.refused() == 2).await;
    stage.serves("halved").await;
    renamed("back");
    stage.serves("back").await;

    // What cannot be read, also for root, whom permissions do not stop.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    wait_for("a refusal", || stage.refused() == 3).await;
    stage.program.signal("HUP").await;
    wait_for("a refusal", || stage.refused() == 4).await;
    stage.serves("back").await;
    std::fs::remove_dir(&file).unwrap();
    // The same as is in use: all is well again, which the status is to say.
    renamed("back");
    stage.program.logged(&["configuration reloaded", "changes=0"]).await;

    std::fs::write(&file, "").unwrap();
    wait_for("a refusal", || stage.refused() == 5).await;
    stage.serves("back").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_is_swapped_as_kubernetes_does() {
    let stage = Stage::set(WATCH).await;
    let directory = stage.program.file("");
    // `gateway.toml` → `..data/gateway.toml`, `..data` → a directory of its own for each version.
    let publish = |version: &str| {
        let fresh = directory.join(format!("..{version}"));
        std::fs::create_dir(&fresh).unwrap();
        std::fs::write(fresh.join("gateway.toml"), stage.with_open_path(version)).unwrap();
        symlink(format!("..{version}"), directory.join("..data_tmp")).unwrap();
        std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    };
    publish("first");
    symlink("..data/gateway.toml", directory.join("link")).unwrap();
    std::fs::rename(directory.join("link"), directory.join("gateway.toml")).unwrap();
    stage.serves("first").await;
    publish("second");
    std::fs::remove_dir_all(directory.join("..first")).unwrap();
    stage.serves("second").await;
    publish("third");
    std::fs::remove_dir_all(directory.join("..second")).unwrap();
    stage.serves("third").await;
    assert_eq!(stage.refused(), 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_in_a_hail_while_the_file_changes() {
    let stage = Stage::set(WATCH).await;
    let file = stage.program.file("gateway.toml");
    for number in 0..20 {
        std::fs::write(stage.program.file("next"), stage.with_open_path(&format!("hail{number}"))).unwrap();
        std::fs::rename(stage.program.file("next"), &file).unwrap();
        stage.program.signal("HUP").await;
    }
    // However many of them it has read, the last one counts.
    stage.serves("hail19").await;
    // Good and bad ones in turn, with a signal and a look at the files at once.
    for number in 0..5 {
        std::fs::write(&file, "[").unwrap();
        stage.program.signal("HUP").await;
        std::fs::write(stage.program.file("next"), stage.with_open_path(&format!("turn{number}"))).unwrap();
        std::fs::rename(stage.program.file("next"), &file).unwrap();
        stage.program.signal("HUP").await;
        stage.serves(&format!("turn{number}")).await;
    }
    let mut admin = Browser::new(stage.program.admin, "localhost");
    admin.get("/readyz").await.assert_status(200);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_rules_change_while_a_refresh_is_under_way() {
    let world = World::start().await;
    let limited = format!("{SEALED}absolute_lifetime = '1d'\nidle_lifetime = '1h'");
    let unbound = format!("{SEALED}bind_refresh = false");
    for (before, after) in [
        ("", "[session]\nbind_refresh = true"),
        ("[session]\nbind_refresh = true", ""),
        ("", "[refresh]\nahead = '1s'\nreplay_window = '5s'"),
        (SEALED, &limited),
        (&limited, SEALED),
        (SEALED, &unbound),
        ("", SEALED),
        (SEALED, ""),
    ] {
        world.reload(before).await;
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        let count = world.provider.count(Endpoint::Refresh);
        world.provider.fail_next(Endpoint::Refresh, Fault::delay(700));
        let mut waiting = browser.clone();
        let waiting = tokio::spawn(async move {
            waiting.get("/api/cart").await.assert_status(200);
            waiting
        });
        wait_for("the refresh", || world.provider.count(Endpoint::Refresh) == count + 1).await;
        world.reload(after).await;
        let mut refreshed = patiently("the answer", waiting).await.expect("a good one");
        refreshed.get("/api/cart").await.assert_status(200);
        // Another tab, with what it had before, and the first one again, with what it has now, at the next refresh.
        let old = browser.get("/api/cart").await.status();
        world.expire_access_tokens();
        let next = refreshed.get("/api/cart").await.status();
        let is_sealed = |rules: &str| rules.contains("seal_keys");
        // What was not sealed is no cookie where cookies are, and the other way round.
        let expected = if is_sealed(before) == is_sealed(after) { 200 } else { 401 };
        assert_eq!((old, next), (expected, expected), "{before} → {after}");
    }
}
