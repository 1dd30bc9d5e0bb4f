//! Tests plant secrets everywhere, and search for them everywhere: in the log at `trace`, in metrics, and in every
//! answer.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use portcullis::system::clock::Clock;
use serde_json::json;

use crate::support::client::raw;
use crate::support::collector::Collector;
use crate::support::gateway::{ACCESS, Builder, REFRESH};
use crate::support::keys::base64url;
use crate::support::program::Program;
use crate::support::{Answer, Browser, Endpoint, Fault, Request, World, wait_for};

const HMAC_SECRET: &str = "canary-hmac-secret-of-more-than-32-bytes";
const CLIENT_SECRET: &str = "store-secret";
const COLLECTOR_KEY: &str = "canary-key-of-the-collector";
const PASSWORD: &str = "canary-wrong-password";

/// A JWT under the HMAC secret.
fn jwt(claims: &serde_json::Value) -> String {
    let message =
        format!("{}.{}", base64url(r#"{"alg":"HS256","typ":"JWT"}"#), base64url(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, HMAC_SECRET.as_bytes());
    format!("{message}.{}", base64url(hmac::sign(&key, message.as_bytes())))
}

/// Everything that a client has been shown, except `Set-Cookie`, which is where tokens belong.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn add(&mut self, answer: &Answer) -> u16 {
        for (name, value) in &answer.head.headers {
            if !name.eq_ignore_ascii_case("set-cookie") {
                let _ = writeln!(self.0, "{name}: {value}");
            }
        }
        let _ = writeln!(self.0, "{}\n{}", answer.head.first_line, answer.text());
        answer.status()
    }
}

/// A secret in the ways in which it could be written.
fn spellings(secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let escaped = secret.escape_debug().to_string();
    let base64 = base64url(secret);
    let mut spellings = vec![secret.to_owned(), form, escaped, base64];
    // A part of a JWT that nobody could guess is as good as the whole.
    spellings.extend(secret.split('.').nth(2).map(str::to_owned));
    spellings.retain(|spelling| spelling.len() >= 8);
    spellings
}

/// The program, a browser that is signed in, what is secret, and what was shown.
struct Search {
    builder: Builder,
    collector: Collector,
    program: Program,
    browser: Browser,
    secrets: Vec<String>,
    shown: Shown,
    token: String,
}

impl Search {
    /// With this TOML laid over the usual one.
    async fn start(toml: &str) -> Self {
        let collector = Collector::start().await;
        let traces = format!("{}headers = {{ X-Key = '{COLLECTOR_KEY}' }}", collector.toml());
        let builder = World::builder().await.lay_over(toml).lay_over(&traces).lay_over(&format!(
            "[identity_providers.main]\nalgorithms = [\"HS256\"]\nhmac_secret = \"{HMAC_SECRET}\"\nrequest_timeout = \"1s\""
        ));
        let now = builder.clock.now();
        let token = jwt(
            &json!({"iss": builder.provider.issuer(), "sub": "id-of-ada", "aud": "store", "azp": "store",
            "iat": now, "exp": now + 300, "roles": ["user"]}),
        );
        builder.provider.set(|settings| settings.access_token = Some(token.clone()));
        let (program, builder) = Program::start(builder).await;
        let browser = Browser::new(program.address, "store.localhost");
        let basic = base64url(format!("store:{CLIENT_SECRET}"));
        let secrets = vec![
            HMAC_SECRET.to_owned(),
            COLLECTOR_KEY.into(),
            CLIENT_SECRET.into(),
            basic,
            PASSWORD.into(),
            "correct horse".into(),
            token.clone(),
        ];
        Self { builder, collector, program, browser, secrets, shown: Shown::default(), token }
    }

    /// Right, wrong, malformed, and at providers that quote what they were sent.
    async fn logins(&mut self) {
        assert_eq!(self.shown.add(&self.browser.log_in("ada").await), 200);
        self.secrets.extend(self.browser.jar.values().cloned());
        assert_eq!(self.shown.add(&self.browser.clone().try_log_in("ada", PASSWORD).await), 401);
        let description = format!("{PASSWORD} {CLIENT_SECRET}");
        let quoted = json!({"error": "invalid_request", "error_description": description});
        for fault in [
            Fault::status(400, &quoted.to_string()),
            Fault::status(500, PASSWORD),
            Fault::Garbage,
            Fault::Truncated,
            Fault::Reset,
            Fault::delay(3000),
        ] {
            self.builder.provider.fail_next(Endpoint::Login, fault);
            self.shown.add(&self.browser.clone().try_log_in("ada", PASSWORD).await);
        }
        for body in [
            format!(r#"{{"username":"ada","password":"{PASSWORD}""#),
            format!(r#"{{"username":"ada","password":["{PASSWORD}"]}}"#),
            format!(r#"{{"username":"ada","password":"{PASSWORD}","password":"{PASSWORD}"}}"#),
        ] {
            let request = Request::post("/api/login").body("application/json", body);
            assert_eq!(self.shown.add(&self.browser.clone().send(request).await), 400);
        }
        let variant = Request::post("/api/login/").form(&format!("username=ada&password={PASSWORD}"));
        assert_eq!(self.shown.add(&self.browser.clone().send(variant).await), 400);
    }

    /// Refused tokens, refused refreshes, an app that is down, a revocation that fails.
    async fn sessions(&mut self) {
        self.shown.add(&self.browser.get("/api/admin/x").await);
        let junk =
            ["canary-junk-token", "canary.junk.signature-canary", "%63anary-encoded", "!2!0!canary-split"];
        for (number, junk) in junk.into_iter().enumerate() {
            let mut tab = self.browser.clone();
            tab.jar.insert(ACCESS.into(), junk.into());
            tab.jar.insert(REFRESH.into(), format!("canary-refresh-{number}"));
            self.secrets.extend(tab.jar.values().cloned());
            self.shown.add(&tab.get("/api/cart?secret=canary-in-the-query").await);
            let again = format!("canary-refresh-{number}-again");
            let quoted =
                json!({"error": again, "error_description": format!("no {again} of {CLIENT_SECRET}")});
            self.builder.provider.fail_next(Endpoint::Refresh, Fault::status(400, &quoted.to_string()));
            tab.jar.insert(REFRESH.into(), again.clone());
            self.secrets.push(again);
            self.shown.add(&tab.get("/api/cart").await);
        }
        let forged =
            jwt(&json!({"iss": "http://canary-issuer", "sub": "x", "exp": self.builder.clock.now() + 300}));
        self.secrets.push(forged.clone());
        self.builder.provider.set(|settings| settings.access_token = Some(forged));
        let mut tab = self.browser.clone();
        tab.jar.remove(ACCESS);
        assert_eq!(self.shown.add(&tab.get("/api/cart").await), 503);
        self.builder.provider.set(|settings| settings.access_token = Some(self.token.clone()));
        self.builder.store.listening().down();
        assert_eq!(self.shown.add(&self.browser.get("/api/cart").await), 502);
        self.builder.provider.fail_next(Endpoint::Revoke, Fault::status(500, "canary"));
        assert_eq!(self.shown.add(&self.browser.clone().send(Request::post("/api/logout")).await), 204);
    }

    /// Refresh tokens that were not sealed here or came alone, and revocations with the right token and a wrong one.
    async fn sealed_sessions(&mut self) {
        for (access, refresh) in
            [(None, None), (Some("canary-junk"), None), (None, Some("canary-not-sealed-here"))]
        {
            let mut tab = self.browser.clone();
            tab.jar.remove(ACCESS);
            tab.jar.extend(access.map(|value| (ACCESS.to_owned(), value.to_owned())));
            tab.jar.extend(refresh.map(|value| (REFRESH.to_owned(), value.to_owned())));
            self.secrets.extend(tab.jar.values().cloned());
            assert_eq!(self.shown.add(&tab.get("/api/cart").await), 401);
        }
        for (token, status) in [("canary-wrong-token", 401), (ADMIN_TOKEN, 204)] {
            let request =
                Request::post("/sessions/revoke").header("Authorization", &format!("Bearer {token}"));
            let mut admin = Browser::new(self.program.admin, "localhost");
            let answer = admin.send(request.json(&json!({"jti": "x"}))).await;
            assert_eq!(self.shown.add(&answer), status);
        }
        self.secrets.push("canary-wrong-token".into());
        assert_eq!(self.shown.add(&self.browser.clone().send(Request::post("/api/logout")).await), 204);
        assert_eq!(self.shown.add(&self.browser.get("/api/cart").await), 401);
        for path in ["/", "/status.json"] {
            let answer = Browser::new(self.program.admin, "localhost").get(path).await;
            assert_eq!(self.shown.add(&answer), 200);
        }
    }

    /// Ends the program and searches.
    async fn end(mut self) {
        let metrics = Browser::new(self.program.admin, "localhost").get("/metrics").await;
        assert_eq!(self.shown.add(&metrics), 200);
        // Also where the app is down by now: the last span tells that all are there.
        self.shown.add(&self.browser.get("/open/the-end").await);
        let Self { program, secrets, shown, collector, .. } = self;
        wait_for("the last span", || {
            collector.spans().iter().any(|span| span.attribute("url.path") == Some("/open/the-end"))
        })
        .await;
        let log = program.end().await;
        let spans = collector.text();
        assert!(spans.contains("POST login") && !spans.contains("id-of-ada"), "{spans}");
        assert_eq!(collector.heads()[0].get("x-key"), Some(COLLECTOR_KEY));
        assert!(log.contains("DEBUG") && log.contains("request refused"), "little was logged: {log}");
        for spelling in secrets.iter().flat_map(|secret| spellings(secret)) {
            for (what, text) in [("log", &log), ("answers", &shown.0), ("spans", &spans)] {
                let line = text.lines().find(|line| line.contains(&spelling));
                assert!(line.is_none(), "`{spelling}` in the {what}: {}", line.unwrap_or_default());
            }
        }
    }

    /// Heads that never reach a decision.
    async fn heads(&mut self) {
        let big = "canary-big".repeat(9000);
        for head in [
            format!("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nCookie: {ACCESS}=canary-in-a-bad-head\r\n\r\n"),
            format!(
                "GET /canary-in-a-bad-target\u{1} HTTP/1.1\r\nCookie: {ACCESS}=canary-in-a-bad-head\r\n\r\n"
            ),
            format!("GET / HTTP/1.1\r\nHost: store.localhost\r\nCookie: {ACCESS}={big}\r\n\r\n"),
        ] {
            if let (Some(answer), _) = raw(self.program.address, head).await {
                self.shown.add(&answer);
            }
        }
        self.secrets.extend(["canary-in-a-bad", "canary-in-the-query", "canary-big"].map(str::to_owned));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_metric_or_answer_has_a_secret_whatever_goes_wrong() {
    let mut search = Search::start("").await;
    search.logins().await;
    search.sessions().await;
    search.heads().await;
    search.end().await;
}

const ADMIN_TOKEN: &str = "canary-admin-token";
const SEAL_KEY: &str = "Y2FuYXJ5LCBhIHNlYWwga2V5IG9mIDMyIGJ5dGVzISE=";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_has_it_what_protects_sessions() {
    let mut search = Search::start(&format!(
        "[server]\nadmin_token = '{ADMIN_TOKEN}'\n[session]\nseal_keys = ['{SEAL_KEY}']"
    ))
    .await;
    search.secrets.extend([ADMIN_TOKEN, SEAL_KEY, "canary, a seal key of 32 bytes!!"].map(str::to_owned));
    search.logins().await;
    search.sealed_sessions().await;
    search.end().await;
}
