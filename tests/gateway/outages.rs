//! Whole outages: of the provider with a thousand living sessions, and at start, in every way that it can fail.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Browser, Endpoint, Fault, Key, Request, Rotation, World, patiently};

/// Browsers at once; each plays a part of the sessions.
const TABS: usize = 20;

type Jar = BTreeMap<String, String>;

/// Lets every session do one thing, several at once, and returns them in order.
async fn each<R>(world: &World, jars: Vec<Jar>, act: impl Fn(Browser, usize) -> R) -> Vec<Jar>
where
    R: Future<Output = Browser> + Send + 'static,
{
    let mut done = Vec::new();
    let mut jars = jars.into_iter().enumerate().peekable();
    while jars.peek().is_some() {
        let tabs = jars.by_ref().take(TABS).map(|(number, jar)| {
            let mut browser = world.browser();
            browser.jar = jar;
            tokio::spawn(act(browser, number))
        });
        for browser in futures_util::future::join_all(tabs).await {
            done.push(browser.expect("no assertion has failed").jar);
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_seconds_without_the_provider_lose_none_of_a_thousand_sessions() {
    const SESSIONS: usize = 1000;
    let world = World::start().await;
    world.provider.set(|settings| settings.key = Key::Ed);
    let log_in = |mut browser: Browser, number: usize| async move {
        browser.log_in(&format!("user{number}")).await;
        browser
    };
    // JWTs live for 300 s: those of the older half expire during the outage, those of the younger do not.
    let older = each(&world, vec![Jar::new(); SESSIONS / 2], log_in).await;
    world.clock.advance(200);
    let younger = each(&world, vec![Jar::new(); SESSIONS / 2], log_in).await;
    world.clock.advance(60);

    world.provider.listening().down();
    let valid = |mut browser: Browser, _| async move {
        let before = browser.jar.clone();
        browser.get("/api/cart").await.assert_status(200);
        assert_eq!(browser.jar, before);
        browser
    };
    let older = each(&world, older, valid).await;
    world.clock.advance(60);
    let younger = each(&world, younger, valid).await;
    let older = each(&world, older, |mut browser, _| async move {
        let before = browser.jar.clone();
        let answer = browser.get("/api/cart").await;
        answer.assert_problem(503, "identity_provider_unavailable");
        assert!(answer.header("retry-after").is_some_and(|value| value.parse::<u64>().is_ok()));
        assert!(answer.set_cookies().is_empty());
        assert_eq!(browser.jar, before, "the cookies are kept");
        browser
    })
    .await;
    world.provider.listening().up().await;
    world.clock.advance(200);

    let refreshes = world.provider.count(Endpoint::Refresh);
    let renew = |mut browser: Browser, _| async move {
        let before = browser.jar.clone();
        let answer = browser.get("/api/cart").await;
        answer.assert_status(200);
        for name in [ACCESS, REFRESH] {
            assert!(browser.jar[name] != before[name], "{name} is new");
        }
        browser
    };
    let mut all = older;
    all.extend(younger);
    let all = each(&world, all, renew).await;
    assert_eq!(world.provider.count(Endpoint::Refresh) - refreshes, SESSIONS, "one for each session");
    let names = each(&world, all, |mut browser, number| async move {
        let answer = browser.get("/api/cart").await;
        answer.assert_status(200);
        // The halves were numbered alike.
        let expected = format!("id-of-user{}", number % (SESSIONS / 2));
        assert_eq!(answer.seen_by_app("x-auth-user"), Some(expected));
        browser
    })
    .await;
    assert_eq!(names.len(), SESSIONS);
}

fn faults() -> Vec<Fault> {
    vec![
        Fault::status(500, "{}"),
        Fault::status(404, "not here"),
        Fault::Garbage,
        Fault::Reset,
        Fault::Truncated,
        Fault::delay(60_000),
        Fault::SlowDrip(Duration::from_secs(1)),
        Fault::Huge,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_at_start_passes_without_a_restart() {
    let checks = faults().into_iter().map(|fault| async move {
        // A healthy answer takes its time, too, while eight gateways read what is wrong.
        let builder = World::builder().await.lay_over("[identity_providers.main]\nrequest_timeout = \"3s\"");
        for endpoint in [Endpoint::Discovery, Endpoint::Jwks] {
            builder.provider.fail(endpoint, fault.clone());
        }
        let world = builder.start_unready().await;
        assert_eq!(world.gateway.admin_get("/livez").await.status(), 200);
        assert_eq!(world.gateway.admin_get("/readyz").await.status(), 503, "{fault:?}");
        world.browser().get("/open/page").await.assert_status(200);
        let mut browser = world.browser();
        browser.jar.insert(ACCESS.into(), world.provider.mint("ada", "store", &serde_json::json!({})));
        let answer = browser.get("/api/cart").await;
        assert_eq!(answer.status(), 503, "{fault:?}: {}", answer.text());
        assert!(answer.set_cookies().is_empty());
        world
            .browser()
            .try_log_in("ada", "correct horse")
            .await
            .assert_problem(503, "identity_provider_unavailable");
        world.provider.recover();
        world.gateway.ready().await;
        browser.get("/api/cart").await.assert_status(200);
        world.logged_in("ada").await;
    });
    futures_util::future::join_all(checks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_mebibytes_and_one_byte_per_second_are_given_up_and_harm_no_session() {
    let world = World::with("[identity_providers.main]\nrequest_timeout = \"1s\"").await;
    // A slow answer is in the end given up: with rotation its token would be lost, whoever had waited for it.
    world.provider.set(|settings| settings.rotation = Rotation::Same);
    for fault in [Fault::SlowDrip(Duration::from_secs(1)), Fault::Huge, Fault::delay(5000)] {
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        for endpoint in [Endpoint::Refresh, Endpoint::Login, Endpoint::Revoke, Endpoint::Jwks] {
            world.provider.fail(endpoint, fault.clone());
        }
        let before = browser.jar.clone();
        browser.get("/api/cart").await.assert_problem(503, "identity_provider_unavailable");
        world
            .browser()
            .try_log_in("eve", "correct horse")
            .await
            .assert_problem(503, "identity_provider_unavailable");
        assert_eq!(browser.jar, before);
        let mut leaving = world.browser();
        leaving.jar.insert(REFRESH.into(), "not-a-token".into());
        leaving.send(Request::post("/api/logout")).await.assert_status(204);
        world.provider.recover();
        patiently("the session to go on", async {
            while browser.get("/api/cart").await.status() != 200 {
                assert_eq!(browser.jar, before, "{fault:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }
}
