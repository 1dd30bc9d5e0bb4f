//! Logins by the dozen at once: guesses that overtake their count, and strangers who stand in a user's way.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Answer, Endpoint, Fault, Request, World, wait_for};

/// A world whose browsers say themselves where they are.
async fn world(limits: &str) -> World {
    World::with(&format!("[server]\ntrusted_proxies = ['127.0.0.1/32']\n[server.limits]\n{limits}")).await
}

async fn log_in(world: &World, name: &str, password: &str, address: Ipv4Addr) -> Answer {
    let body = json!({"username": name, "password": password});
    let request = Request::post("/api/login").json(&body).header("X-Forwarded-For", &address.to_string());
    world.browser().send(request).await
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_guesses_at_once_are_no_more_than_one_after_the_other() {
    let world = Arc::new(world("failed_logins_per_address = 5").await);
    world.provider.fail(Endpoint::Login, Fault::delay(100));
    let (mut guesses, began) = (JoinSet::new(), std::time::Instant::now());
    for number in 0..60 {
        let world = Arc::clone(&world);
        guesses.spawn(async move { log_in(&world, &format!("user{number}"), "a guess", address(1)).await });
    }
    let mut refused = 0;
    while let Some(answer) = guesses.join_next().await {
        let answer = answer.unwrap();
        if answer.status() == 429 {
            answer.assert_problem(429, "too_many_attempts");
            let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
            assert!((1..=6).contains(&seconds), "{seconds}");
            refused += 1;
        } else {
            answer.assert_problem(401, "invalid_credentials");
        }
    }
    // One is forgotten every five seconds, should this machine be so slow.
    let permitted = 5 + usize::try_from(began.elapsed().as_secs() / 5).unwrap();
    let asked = world.provider.count(Endpoint::Login);
    assert!((5..=permitted).contains(&asked) && refused == 60 - asked, "{asked} {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_one_name_do_not_overtake_their_count_either() {
    let world = Arc::new(world("failed_logins_per_name = 3\nmax_waiting_logins = 20").await);
    world.provider.fail(Endpoint::Login, Fault::delay(30));
    let mut guesses = JoinSet::new();
    for _ in 0..12 {
        let world = Arc::clone(&world);
        guesses.spawn(async move { log_in(&world, "ada", "a guess", address(1)).await.status() });
    }
    let statuses = guesses.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 3, "{statuses:?}");
    assert_eq!(world.provider.count(Endpoint::Login), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_logins_of_one_address_are_no_guesses_however_many_come_at_once() {
    let world = Arc::new(world("failed_logins_per_address = 4\nfailed_logins_per_name = 1").await);
    world.provider.fail(Endpoint::Login, Fault::delay(30));
    let mut logins = JoinSet::new();
    for number in 0..40 {
        let world = Arc::clone(&world);
        let name = format!("user{}", number / 2);
        logins.spawn(async move { log_in(&world, &name, "correct horse", address(1)).await.status() });
    }
    assert_eq!(logins.join_all().await, vec![200; 40]);
    // Nor is an outage a guess.
    world.provider.fail(Endpoint::Login, Fault::status(503, ""));
    for _ in 0..6 {
        assert_eq!(log_in(&world, "ada", "correct horse", address(1)).await.status(), 503);
    }
    world.provider.recover();
    assert_eq!(log_in(&world, "ada", "correct horse", address(1)).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_holds_no_place_and_its_guess_counts() {
    let world = world("failed_logins_per_name = 2").await;
    world.provider.fail(Endpoint::Login, Fault::delay(300));
    let body = json!({"username": "ada", "password": "a guess"}).to_string();
    let head = format!(
        "POST /api/login HTTP/1.1\r\nHost: store.localhost\r\nX-Forwarded-For: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        address(1),
        body.len()
    );
    for number in 1..=2 {
        let mut wire = world.browser().open().await;
        wire.send(&head).await.unwrap();
        wait_for("the guess", || world.provider.count(Endpoint::Login) == number).await;
        wire.reset();
    }
    crate::support::patiently("both to count", async {
        while log_in(&world, "ada", "a guess", address(1)).await.status() != 429 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(world.provider.count(Endpoint::Login) <= 3, "{}", world.provider.count(Endpoint::Login));
    world.provider.recover();
    assert_eq!(log_in(&world, "ada", "correct horse", address(2)).await.status(), 200);
}

/// Strangers from ever new addresses who log in as `ada`, several at once from each, until they are told to stop.
struct Flood {
    stop: Arc<AtomicBool>,
    tabs: JoinSet<()>,
    answers: Arc<AtomicUsize>,
}

impl Flood {
    fn start(world: &Arc<World>, tabs: u32, addresses_of_each: u32) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut flood = Self { stop, tabs: JoinSet::new(), answers };
        for tab in 0..tabs {
            let (world, stop, answers) =
                (Arc::clone(world), Arc::clone(&flood.stop), Arc::clone(&flood.answers));
            flood.tabs.spawn(async move {
                let mut turn = 0;
                while !stop.load(Ordering::SeqCst) {
                    let from = address(1000 + tab * addresses_of_each + turn % addresses_of_each);
                    let answer = log_in(&world, "ada", "a guess", from).await;
                    assert!(matches!(answer.status(), 401 | 429 | 503), "{}", answer.text());
                    answers.fetch_add(1, Ordering::SeqCst);
                    turn += 1;
                }
            });
        }
        flood
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.tabs.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_keep_a_user_out_of_where_she_has_been() {
    let world = Arc::new(world("failed_logins_per_name = 100000").await);
    log_in(&world, "ada", "correct horse", address(1)).await.assert_status(200);
    world.provider.fail(Endpoint::Login, Fault::delay(1000));
    let flood = Flood::start(&world, 48, 50);
    wait_for("a crowd", || flood.answers.load(Ordering::SeqCst) > 100).await;
    for _ in 0..3 {
        let before = world.provider.count(Endpoint::Login);
        let answer = log_in(&world, "Ada", "correct horse", address(1)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let calls = world.provider.calls(Endpoint::Login);
        let own = calls.iter().skip(before).position(|call| call.field("password") == Some("correct horse"));
        assert!(own.is_some_and(|waited| waited <= 4), "after {own:?} calls of strangers");
    }
    flood.stop().await;
    assert_eq!(world.provider.most_parallel(Endpoint::Login), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_hold_their_places_make_room_for_who_comes() {
    let world = Arc::new(world("failed_logins_per_name = 100000\nmax_waiting_logins = 2").await);
    // Nobody's turn ends.
    world.provider.fail(Endpoint::Login, Fault::delay(2000));
    let mut waiting = JoinSet::new();
    for number in 0..17 {
        let world = Arc::clone(&world);
        waiting.spawn(async move { log_in(&world, "ada", "a guess", address(100 + number)).await.status() });
    }
    wait_for("the first", || world.provider.count(Endpoint::Login) == 1).await;
    // It is one of those who wait that is sent away, and not always the one who comes.
    let mut refused_newcomers = 0;
    for number in 0..20 {
        let newcomer = tokio::time::timeout(
            std::time::Duration::from_millis(100),
            log_in(&world, "ada", "a guess", address(200 + number)),
        );
        if newcomer.await.is_ok_and(|answer| answer.status() == 429) {
            refused_newcomers += 1;
        }
    }
    assert!(refused_newcomers < 20, "the places are taken for good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_does_not_take_every_call_to_the_provider() {
    let world = Arc::new(world("").await);
    world.provider.fail(Endpoint::Login, Fault::delay(1500));
    let mut logins = JoinSet::new();
    for number in 0..80 {
        let world = Arc::clone(&world);
        logins.spawn(async move {
            log_in(&world, &format!("user{number}"), "correct horse", address(1)).await.status()
        });
    }
    wait_for("a crowd", || world.provider.count(Endpoint::Login) >= 16).await;
    log_in(&world, "eve", "correct horse", address(2)).await.assert_status(200);
    assert!(logins.join_all().await.iter().all(|status| *status == 200));
    let most = world.provider.most_parallel(Endpoint::Login);
    assert!(most <= 32 + 1, "{most} at once, all but one of one address");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_strangers_does_not_keep_users_waiting_who_have_been_here() {
    let world = Arc::new(world("").await);
    log_in(&world, "ada", "correct horse", address(1)).await.assert_status(200);
    world.provider.fail(Endpoint::Login, Fault::delay(1000));
    let mut logins = JoinSet::new();
    for number in 0..600 {
        let world = Arc::clone(&world);
        logins.spawn(async move {
            log_in(&world, &format!("user{number}"), "a guess", address(1000 + number)).await.status()
        });
    }
    wait_for("a crowd", || world.provider.count(Endpoint::Login) >= 64).await;
    let before = world.provider.count(Endpoint::Login);
    let answer = log_in(&world, "ada", "correct horse", address(1)).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let calls = world.provider.calls(Endpoint::Login);
    let own = calls.iter().skip(before).position(|call| call.field("username") == Some("ada")).unwrap();
    assert!(own < 320, "after {own} of 536 strangers: five calls of everybody's are 320");
    logins.abort_all();
}
