//! Identity headers come from a verified JWT and from nowhere else.

use serde_json::json;

use crate::support::client::{raw, receive, request_bytes};
use crate::support::gateway::ACCESS;
use crate::support::program::Program;
use crate::support::{Browser, Request, World, patiently};

/// Every header of the app's latest request on `path` whose canonical name is one of ours.
fn seen(world: &World, path: &str) -> Vec<(String, String)> {
    let canonical = |name: &str| -> String {
        name.to_ascii_lowercase()
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
            .collect()
    };
    let headers = world.store.last(path).head.headers;
    let ours = headers.into_iter().map(|(name, value)| (canonical(&name), value));
    ours.filter(|(name, _)| name.starts_with("x-auth-")).collect()
}

const ALIASES: [&str; 11] = [
    "X-Auth-User",
    "x-auth-user",
    "X-AUTH-ROLES",
    "X_Auth_User",
    "x_auth_roles",
    "X.Auth.Roles",
    "X-Auth_Email",
    "x.auth-user",
    "X!Auth!Roles",
    "X~Auth~User",
    "X|Auth^Roles",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_ours_from_a_client_are_stripped_in_every_spelling() {
    let world = World::start().await;
    for path in ["/open/page", "/either/page"] {
        let mut request = Request::get(path);
        for alias in ALIASES {
            request = request.header(alias, "root");
        }
        world.browser().send(request).await.assert_status(200);
        assert!(seen(&world, path).is_empty(), "{:?}", seen(&world, path));
    }
    let mut browser = world.logged_in("ada").await;
    let mut request = Request::get("/api/cart");
    for alias in ALIASES {
        request = request.header(alias, "root");
    }
    browser.send(request).await.assert_status(200);
    let mut ours = seen(&world, "/api/cart");
    ours.sort();
    let expected =
        [("x-auth-email", "ada@example.com"), ("x-auth-roles", "user"), ("x-auth-user", "id-of-ada")];
    assert_eq!(ours, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_header_cannot_delete_an_identity_header() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    for connection in [
        "close, X-Auth-Roles, X-Auth-User",
        "x-auth-user",
        "keep-alive, X-Auth-Email, X_Auth_User",
        "X-Auth-Roles,X-Forwarded-For",
    ] {
        let heads = world.store.heads();
        let answer = browser.send(Request::get("/api/cart").header("Connection", connection)).await;
        if answer.status() == 400 {
            assert_eq!(world.store.heads(), heads, "{connection}: refused, and yet the app saw it");
            continue;
        }
        answer.assert_status(200);
        assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"), "{connection}");
        assert_eq!(answer.seen_by_app("x-auth-roles").as_deref(), Some("user"), "{connection}");
        assert_eq!(answer.seen_by_app("x-forwarded-for").as_deref(), Some("127.0.0.1"), "{connection}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_carry_no_identity() {
    let world = World::start().await;
    let head = "POST /open/upload HTTP/1.1\r\nHost: store.localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-User\r\n\r\n";
    let body = "2\r\nhi\r\n0\r\nX-Auth-User: root\r\nX_Auth_Roles: admin\r\nX-Checksum: 1\r\n\r\n";
    let (answer, _) = raw(world.gateway.address, format!("{head}{body}")).await;
    let answer = answer.expect("an answer");
    if answer.status() == 200 {
        let seen = world.store.last("/open/upload");
        for (name, value) in &seen.body.trailers {
            let name = name.to_ascii_lowercase().replace('_', "-");
            assert!(!name.starts_with("x-auth"), "{name}: {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_claims_are_joined_and_absent_ones_are_absent() {
    let world = World::with(
        r#"
        [apps.store.identity_headers]
        X-Auth-Groups = "groups"
        X-Auth-City = "address.city"
        X-Auth-Level = "level"
        X-Auth-Beta = "beta"
        X-Auth-Missing = "nothing.here"
        "#,
    )
    .await;
    world.provider.set(|settings| {
        settings.claims =
            json!({"groups": ["staff", "ops"], "address": {"city": "Bern"}, "level": 3, "beta": true});
    });
    let mut browser = world.logged_in("root").await;
    let request = Request::get("/api/cart").header("X-Auth-Missing", "forged");
    let answer = browser.send(request).await;
    assert_eq!(answer.seen_by_app("x-auth-groups").as_deref(), Some("staff,ops"));
    assert_eq!(answer.seen_by_app("x-auth-city").as_deref(), Some("Bern"));
    assert_eq!(answer.seen_by_app("x-auth-level").as_deref(), Some("3"));
    assert_eq!(answer.seen_by_app("x-auth-beta").as_deref(), Some("true"));
    assert_eq!(answer.seen_by_app("x-auth-roles").as_deref(), Some("user,admin"));
    assert_eq!(answer.seen_by_app("x-auth-missing"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_the_same_members_for_the_app_as_for_the_route() {
    let world = World::with(
        r#"
        [apps.store]
        roles_claim = "groups"
        [apps.store.identity_headers]
        X-Auth-Roles = "roles"
        X-Auth-Groups = "groups"
        X-Auth-Teams = "teams"
        "#,
    )
    .await;
    for (groups, expected, is_admin) in [
        (json!(["users,admin"]), None, false),
        (json!(["users,admin", "staff"]), Some("staff"), false),
        (json!([" admin ", "staff\t"]), Some("admin,staff"), true),
        (json!(["staff", " ", ""]), Some("staff"), false),
        (json!({"admin": {"2093": "x.example"}, "user": {"2093": "x.example"}}), Some("admin,user"), true),
        (json!([{"admin": {"2093": "x.example"}}, {"user": {}}]), Some("admin,user"), true),
        (json!({"admin": true, "user": false}), Some("admin"), true),
        (json!({"admin": false, "user": true}), Some("user"), false),
        (json!({"admin": {"roles": ["user"]}}), None, false),
        (json!([{"id": "1", "name": "admin"}]), None, false),
    ] {
        world.provider.set(|settings| settings.claims = json!({"groups": groups, "teams": groups}));
        let mut browser = world.logged_in("ada").await;
        let answer = browser.get("/api/cart").await;
        answer.assert_status(200);
        for header in ["x-auth-roles", "x-auth-groups", "x-auth-teams"] {
            let seen: Option<Vec<_>> = answer.seen_by_app(header).map(|value| {
                let mut members: Vec<_> = value.split(',').map(str::to_owned).collect();
                members.sort();
                members
            });
            let expected = expected.map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(seen, expected, "{header} of {groups}");
        }
        let status = browser.get("/api/admin/users").await.status();
        assert_eq!(status, if is_admin { 200 } else { 403 }, "{groups}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_grow_cost_a_header_and_never_a_session() {
    let world = World::with(
        r#"
        [apps.store]
        max_identity_header_size = "256B"
        [apps.store.identity_headers]
        X-Auth-User = "sub"
        X-Auth-Groups = "groups"
        "#,
    )
    .await;
    world.provider.set(|settings| settings.claims = json!({"groups": ["staff"]}));
    let mut browser = world.logged_in("ada").await;
    assert_eq!(browser.get("/api/cart").await.seen_by_app("x-auth-groups").as_deref(), Some("staff"));

    let many: Vec<_> = (0..100).map(|number| format!("group-{number}")).collect();
    world.provider.set(|settings| settings.claims = json!({"groups": many}));
    world.expire_access_tokens();
    let answer = browser.get("/api/cart").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
    assert_eq!(answer.seen_by_app("x-auth-groups"), None);

    // Nor is it a login.
    let mut newcomer = world.logged_in("bob").await;
    let answer = newcomer.get("/api/cart").await;
    assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-bob"));
    assert_eq!(answer.seen_by_app("x-auth-groups"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_what_the_app_is_not_told_and_no_value() {
    let builder = World::builder().await.lay_over(
        r#"
        [apps.store]
        max_identity_header_size = "64B"
        roles_claim = "urn:projects"
        [apps.store.identity_headers]
        X-Auth-Groups = "groups"
        X-Auth-Teams = "teams"
        "#,
    );
    let (program, builder) = Program::start(builder).await;
    let claims = json!({
        "groups": "hush-group ".repeat(9).trim().split(' ').collect::<Vec<_>>(),
        "teams": ["hush,team"],
        "urn:projects": {"roles": ["hush-role"]},
    });
    builder.provider.set(|settings| settings.claims = claims);
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await.assert_status(200);
    let what = "the app is not told all that the JWT says";
    program
        .logged(&[what, "id-of-ada", "x-auth-groups", "98 bytes", "`max_identity_header_size` is 64"])
        .await;
    program.logged(&[what, "x-auth-teams", "comma"]).await;
    program.logged(&[what, "`roles_claim`", "`urn:projects`", "an object"]).await;
    assert!(!program.end().await.contains("hush"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_cannot_be_a_header_value_refuses_the_login_and_is_no_5xx_loop() {
    let world = World::start().await;
    for email in ["a\r\nX-Auth-Roles: admin", "a\nb", "a\u{0}b", "a\rb", " a@x", "a@x ", "a@x\t", "  "] {
        world.provider.set(|settings| settings.claims = json!({"email": email}));
        let mut browser = world.browser();
        let answer = browser.try_log_in("ada", "correct horse").await;
        assert_ne!(answer.status(), 200, "{email:?}");
        assert!(answer.set_cookies().is_empty() && browser.jar.is_empty(), "{email:?}");

        // The same token, brought by hand: no session, no 5xx, nothing at the app.
        browser.jar.insert(ACCESS.into(), world.provider.mint("ada", "store", &json!({"email": email})));
        let answer = browser.get("/api/cart").await;
        assert!((400..500).contains(&answer.status()), "{email:?}: {}", answer.text());
    }
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_token_is_forwarded_only_where_configured() {
    let world = World::with("[apps.store]\nforward_access_token = true").await;
    let mut browser = world.logged_in("ada").await;
    let answer = browser.send(Request::get("/api/cart").header("Authorization", "Bearer forged")).await;
    let bearer = answer.seen_by_app("authorization").expect("a bearer token");
    assert_eq!(bearer.strip_prefix("Bearer ").map(|token| token.split('.').count()), Some(3));
    world.expire_access_tokens();
    let renewed = browser.get("/api/cart").await.seen_by_app("authorization").expect("a bearer token");
    assert_ne!(renewed, bearer);
    let mut stranger = world.browser();
    let answer = stranger.send(Request::get("/open/page").header("Authorization", "Bearer forged")).await;
    assert_ne!(answer.seen_by_app("authorization").as_deref(), Some("Bearer forged"));

    let mut forums = world.forums_browser();
    forums.log_in("ada").await;
    assert_eq!(forums.get("/api/threads").await.seen_by_app("authorization"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_identities_on_one_connection_never_mix() {
    let world = World::start().await;
    let (ada, bob) = (world.logged_in("ada").await, world.logged_in("bob").await);
    let mut wire = world.browser().open().await;
    let mut pipelined = Vec::new();
    for number in 0..10 {
        let browser = if number % 2 == 0 { &ada } else { &bob };
        pipelined.extend(request_bytes(browser, &Request::get("/api/cart")));
        pipelined.extend(request_bytes(&world.browser(), &Request::get("/open/page")));
    }
    wire.send(pipelined).await.unwrap();
    for number in 0..10 {
        let answer = patiently("a cart", receive(&mut wire, "GET", 1 << 16)).await.expect("an answer");
        let expected = if number % 2 == 0 { "id-of-ada" } else { "id-of-bob" };
        assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some(expected));
        let answer = patiently("a page", receive(&mut wire, "GET", 1 << 16)).await.expect("an answer");
        assert_eq!(answer.seen_by_app("x-auth-user"), None);
    }
}
