//! Outcomes of a login other than success: refusals, challenges, throttling. And logins side by side.

use serde_json::json;

use crate::support::program::Program;
use crate::support::{Browser, Endpoint, Fault, Request, World, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_credentials_look_alike_whatever_the_provider_says() {
    let world = World::start().await;
    let refusals = [
        Fault::oauth_error(400, "invalid_grant"),
        Fault::oauth_error(401, "invalid_grant"),
        Fault::oauth_error(403, "invalid_grant"),
        Fault::oauth_error(400, "invalid_request"),
        Fault::status(403, ""),
        Fault::status(400, ""),
    ];
    let mut bodies = Vec::new();
    for (number, refusal) in refusals.into_iter().enumerate() {
        world.provider.fail_next(Endpoint::Login, refusal.clone());
        // A user name each, so that throttling does not come in.
        let answer = world.browser().try_log_in(&format!("user{number}"), "whatever").await;
        assert_eq!(answer.status(), 401, "{refusal:?}: {}", answer.text());
        answer.assert_problem(401, "invalid_credentials");
        assert!(answer.set_cookies().is_empty());
        bodies.push(answer.problem_without_id());
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfinished_account_is_not_a_wrong_password() {
    let world = World::start().await;
    let body = r#"{"error":"invalid_grant","error_description":"Account is not fully set up"}"#;
    world.provider.fail_next(Endpoint::Login, Fault::status(400, body));
    let answer = world.browser().try_log_in("ada", "correct horse").await;
    answer.assert_problem(401, "account_action_required");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttling_provider_is_not_a_wrong_password() {
    let world = World::start().await;
    let headers = "Retry-After: 17\r\n".to_owned();
    world.provider.fail_next(Endpoint::Login, Fault::Answer { status: 429, headers, body: String::new() });
    let answer = world.browser().try_log_in("ada", "correct horse").await;
    assert!(matches!(answer.status(), 429 | 503), "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_one_user_name_go_out_one_after_the_other() {
    let world = World::start().await;
    world.provider.fail(Endpoint::Login, Fault::delay(150));
    let logins = (0..4).map(|number| {
        let mut browser = world.browser();
        let name = if number % 2 == 0 { "ada" } else { "Ada" };
        tokio::spawn(async move { browser.log_in(name).await })
    });
    for outcome in futures_util::future::join_all(logins).await {
        outcome.unwrap();
    }
    assert_eq!(world.provider.count(Endpoint::Login), 4);
    assert_eq!(world.provider.most_parallel(Endpoint::Login), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_one_user_name_at_two_apps_of_one_provider_queue_up_too() {
    let world = World::start().await;
    world.provider.fail(Endpoint::Login, Fault::delay(200));
    let (mut store, mut forums) = (world.browser(), world.forums_browser());
    tokio::join!(store.log_in("ada"), forums.log_in("ada"));
    assert_eq!(world.provider.most_parallel(Endpoint::Login), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_different_users_do_not_wait_for_each_other() {
    let world = World::start().await;
    world.provider.fail(Endpoint::Login, Fault::delay(500));
    let (mut ada, mut bob) = (world.browser(), world.browser());
    tokio::join!(ada.log_in("ada"), bob.log_in("bob"));
    assert_eq!(world.provider.most_parallel(Endpoint::Login), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_waiting_logins_of_one_user_name_are_429() {
    let world = World::with("[server.limits]\nmax_waiting_logins = 2").await;
    world.provider.fail(Endpoint::Login, Fault::delay(400));
    let logins = (0..8).map(|_| {
        let mut browser = world.browser();
        tokio::spawn(async move { browser.try_log_in("ada", "correct horse").await })
    });
    let mut refused = 0;
    for outcome in futures_util::future::join_all(logins).await {
        let answer = outcome.unwrap();
        if answer.status() != 200 {
            answer.assert_problem(429, "too_many_attempts");
            assert!(answer.header("retry-after").is_some());
            refused += 1;
        }
    }
    assert!((4..8).contains(&refused), "{refused} of 8 were refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_while_signed_in_replaces_the_session_and_revokes_the_old_refresh_token() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    browser.log_in("bob").await;
    assert_eq!(browser.get("/api/user").await.json()["sub"], "id-of-bob");
    crate::support::patiently("the revocation", async {
        while world.provider.count(Endpoint::Revoke) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let call = world.provider.calls(Endpoint::Revoke).pop().unwrap();
    assert!(call.field("token").unwrap().contains("-ada-"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_without_a_refresh_token_is_a_session_until_the_jwt_expires() {
    let world = World::start().await;
    world.provider.set(|settings| settings.answer = json!({"refresh_token": null}));
    let mut browser = world.browser();
    browser.log_in("ada").await;
    assert_eq!(browser.jar.len(), 1);
    browser.get("/api/shopping-cart").await.assert_status(200);
    world.expire_access_tokens();
    browser.get("/api/shopping-cart").await.assert_problem(401, "not_logged_in");
    browser.send(Request::post("/api/logout")).await.assert_status(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_with_a_dead_session_in_the_jar_just_works() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.provider.end_all_sessions();
    world.expire_access_tokens();
    browser.log_in("ada").await;
    browser.get("/api/shopping-cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_slowed_down_without_asking_the_provider() {
    let world = World::with("[server.limits]\nfailed_logins_per_name = 3").await;
    let mut guesser = world.browser();
    for _ in 0..3 {
        guesser.try_log_in("ada", "guess").await.assert_problem(401, "invalid_credentials");
    }
    let asked = world.provider.count(Endpoint::Login);
    for username in ["ada", " ADA "] {
        let answer = guesser.try_log_in(username, "guess").await;
        answer.assert_problem(429, "too_many_attempts");
        let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
        assert!((1..=30).contains(&seconds), "{seconds}");
    }
    assert_eq!(world.provider.count(Endpoint::Login), asked);
    world.browser().log_in("eve").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guesser_cannot_be_somebody_else_by_saying_so() {
    let world =
        World::with("[server.limits]\nfailed_logins_per_name = 2\nfailed_logins_per_address = 4").await;
    let guess = |name: &str, number: u32| {
        let body = json!({"username": name, "password": "guess"});
        let address = format!("203.0.113.{number}");
        Request::post("/api/login")
            .json(&body)
            .header("X-Forwarded-For", &address)
            .header("Forwarded", &format!("for={address}"))
            .header("X-Real-IP", &address)
            .header("True-Client-IP", &address)
    };
    let mut guesser = world.browser();
    for number in 0..2 {
        guesser.send(guess("ada", number)).await.assert_problem(401, "invalid_credentials");
    }
    guesser.send(guess("ada", 3)).await.assert_problem(429, "too_many_attempts");
    for number in 0..2 {
        guesser.send(guess(&format!("user{number}"), number)).await.assert_status(401);
    }
    guesser.send(guess("another", 9)).await.assert_problem(429, "too_many_attempts");
}

/// The gateway's log has what the provider said of a refused login where that is more than that the password was wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_provider_says_of_a_refused_login_is_in_the_log_and_in_doctor() {
    let builder = World::builder().await.lay_over("[server.log]\nformat = \"json\"");
    let (program, builder) = Program::start_quietly(builder).await;
    let long = "word ".repeat(500);
    for (description, status, quoted) in [
        ("Account is not fully set up", 401, Some("Account is not fully set up")),
        ("Account disabled", 401, Some("Account disabled")),
        ("User is locked.\u{1b}[31m", 401, Some("User is locked.\\u{1b}[31m")),
        ("wrong: correct horse", 401, Some("[a text that repeats a secret]")),
        (&long, 401, Some("word word")),
        ("Invalid user credentials", 401, None),
        ("", 401, None),
    ] {
        let body =
            serde_json::json!({"error": "invalid_grant", "error_description": description}).to_string();
        let before = std::fs::read_to_string(program.file("log")).unwrap().lines().count();
        builder.provider.fail(Endpoint::Login, Fault::status(400, &body));
        let mut browser = Browser::new(program.address, "store.localhost");
        browser.try_log_in("ada", "correct horse").await.assert_status(status);
        let is_refusal = |line: &&str| line.contains("login_refused");
        wait_for("the line of the refusal", || {
            std::fs::read_to_string(program.file("log"))
                .unwrap()
                .lines()
                .skip(before)
                .any(|line| is_refusal(&line))
        })
        .await;
        let text = std::fs::read_to_string(program.file("log")).unwrap();
        let line: serde_json::Value =
            serde_json::from_str(text.lines().skip(before).find(is_refusal).unwrap()).unwrap();
        let detail = line["detail"].as_str();
        assert_eq!(detail.is_some(), quoted.is_some(), "{description}: {line}");
        assert!(detail.unwrap_or_default().contains(quoted.unwrap_or_default()), "{line}");
        assert!(
            detail.unwrap_or_default().len() < 400 && !detail.unwrap_or_default().contains('\u{1b}'),
            "{line}"
        );

        let mut doctor = tokio::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
        doctor.args(["doctor", "--username", "ada", "--config"]).arg(program.file("gateway.toml"));
        std::fs::write(program.file("password"), "correct horse\n").unwrap();
        doctor.stdin(std::fs::File::open(program.file("password")).unwrap());
        let output = String::from_utf8(doctor.output().await.unwrap().stdout).unwrap();
        let errors: Vec<_> = output.lines().filter(|line| line.contains("the test user")).collect();
        assert!(
            !errors.is_empty() && errors.iter().all(|line| line.contains(quoted.unwrap_or_default())),
            "{output}"
        );
        builder.provider.recover();
    }
    drop(program.end().await);
}
