//! An app, its provider, and the sessions of both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::access::assessment::{Grant, Previous};
use crate::access::decision::AppRules;
use crate::access::identity::Identity;
use crate::access::session_tables::SessionTables;
use crate::access::testing::{NOW, claims, jwk, mint, of_test_provider};
use crate::access::token::verify;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::config;
use crate::identity_provider::testing::server::{Server, json as answer, provider};
use crate::identity_provider::{Client, UnknownKeySource, testing};
use crate::session::outcome::{Outcome, Refreshed};
use crate::session::relying_party::RelyingParty;
use crate::session::sessions::Sessions;
use crate::system::clock::ManualClock;

pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) app: Arc<RelyingParty>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) memory: Arc<SessionTables>,
    pub(crate) config: config::Config,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::with_request_timeout(Duration::from_secs(20)).await
    }

    pub(crate) async fn with_request_timeout(request_timeout: Duration) -> Self {
        let server = Server::start().await;
        server.publish_metadata();
        server.publish_keys(&[&jwk("ed").to_string()]);
        server.answer("/revoke", 200, "");
        let provider = provider(&testing::config(&server.base));
        assert!(provider.fetch_unknown_key(UnknownKeySource::TokenAnswer).await);
        let text = format!(
            "[identity_providers.main]\nissuer = '{}'\n[apps.store]\nhosts = ['store.example.com']\n\
             upstreams = ['http://127.0.0.1:3000']\nclient_id = 'store'\nclient_secret = 's'\n\
             identity_headers.X-Auth-Email = 'email'\n",
            server.base
        );
        let config = config::parse(&text).unwrap().config;
        let app = Arc::new(RelyingParty {
            app: String::from("store"),
            rules: of_test_provider(AppRules::new(
                &config.apps[0],
                &config.identity_providers[0],
                &config.session,
            )),
            client: Client { id: String::from("store"), secret: None, parameters: Vec::new() },
            provider,
            request_timeout,
            calls: Arc::default(),
        });
        let clock = Arc::new(ManualClock::new(NOW));
        let seconds = Duration::from_secs;
        let mut config = config;
        config.refresh = config::Refresh { ahead: seconds(30), replay_window: seconds(600) };
        let memory = Arc::new(SessionTables::new(64, NOW));
        let sessions = Arc::new(Sessions::new(clock.clone(), Arc::clone(&memory), &config));
        Self { server, sessions, app, clock, memory, config }
    }

    pub(crate) async fn refresh(&self, token: &str, subject: Option<&str>) -> Outcome {
        let previous = subject.map(|subject| self.previous(subject));
        self.refreshed(token, previous.as_ref()).await.outcome
    }

    pub(crate) async fn refreshed(&self, token: &str, previous: Option<&Previous>) -> Refreshed {
        self.sessions.refresh(&self.app, &grant(token), previous, None).await
    }

    /// The genuine JWT of a subject, expired.
    pub(crate) fn previous(&self, subject: &str) -> Previous {
        let token = mint(&claims(&json!({"iss": self.server.base, "sub": subject, "exp": NOW - 60})));
        let keys = self.app.provider.key_set();
        let verified = verify(&token, &self.app.rules.token, &keys, NOW).unwrap().claims;
        let identity = Arc::new(Identity::new(verified, &self.app.rules.identity).unwrap());
        Previous { identity, access_token: AccessToken::new(token), still_valid: false, over: None }
    }

    pub(crate) async fn logout(&self, token: &str) {
        self.sessions.logout(&self.app, Some(&grant(token)), None).await;
    }

    /// A token answer with a JWT that has these claims.
    pub(crate) fn tokens(&self, changes: &Value, refresh_token: Option<&str>) -> String {
        let mut all = claims(changes);
        all["iss"] = json!(self.server.base);
        let mut body = json!({ "access_token": mint(&all), "token_type": "Bearer" });
        if let Some(token) = refresh_token {
            body["refresh_token"] = json!(token);
        }
        body.to_string()
    }

    /// The provider answers all refreshes in turn; the last answer is repeated.
    pub(crate) fn script_tokens(&self, bodies: Vec<String>) {
        let next = AtomicUsize::new(0);
        self.server.script("/token", move || {
            let turn = next.fetch_add(1, Ordering::SeqCst).min(bodies.len() - 1);
            answer(200, bodies[turn].clone())
        });
    }

    /// The provider keeps its answer back until the gate is opened.
    pub(crate) fn script_gated(&self, body: String) -> watch::Sender<bool> {
        let (gate, opened) = watch::channel(false);
        self.server.script("/token", move || {
            let (mut opened, body) = (opened.clone(), body.clone());
            let stream = futures_util::stream::once(async move {
                let _ = opened.wait_for(|open| *open).await;
                Ok::<_, std::io::Error>(Bytes::from(body))
            });
            answer(200, Body::from_stream(stream))
        });
        gate
    }

    /// The refresh tokens that the provider was asked with.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.of_form("/token", "refresh_token")
    }

    /// The tokens that the provider was told to revoke.
    pub(crate) fn revoked(&self) -> Vec<String> {
        self.of_form("/revoke", "token")
    }

    fn of_form(&self, path: &str, field: &str) -> Vec<String> {
        let value =
            |form: Vec<(String, String)>| form.into_iter().find(|(name, _)| name == field).map(|(_, v)| v);
        self.server.seen(path).iter().filter_map(|seen| value(seen.form())).collect()
    }
}

/// Sessions that never call a provider.
pub(crate) fn sessions_without_provider() -> Sessions {
    let text = "[identity_providers.main]\nissuer = 'https://id.example.com'\n[apps.store]\nhosts = ['store.example.com']\n\
                upstreams = ['http://127.0.0.1:3000']\nclient_id = 'store'\nclient_secret = 's'\n";
    let config = config::parse(text).unwrap().config;
    Sessions::new(Arc::new(ManualClock::new(NOW)), Arc::new(SessionTables::new(64, NOW)), &config)
}

/// An unsealed refresh token.
pub(crate) fn grant(token: &str) -> Grant {
    Grant { refresh_token: RefreshToken::new(token), record: None }
}

/// The outcome in a word: the refresh token that came, or how it failed.
pub(crate) fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Renewed(tokens) => {
            tokens.refresh_token.as_ref().map_or_else(|| "kept".to_owned(), |token| token.to_string())
        }
        Outcome::Unverified(_) => "unverified".to_owned(),
        Outcome::Dead => "dead".to_owned(),
        Outcome::Ended => "ended".to_owned(),
        Outcome::ActionRequired(kind) => format!("{kind:?}"),
        Outcome::Unavailable => "unavailable".to_owned(),
        Outcome::Postponed(seconds) => format!("unavailable for {seconds} s"),
    }
}
