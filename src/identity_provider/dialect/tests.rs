//! A made-up kind of provider, written as a file of its own would be: nothing else has to know of it.

use http::HeaderMap;
use serde_json::json;

use super::*;
use crate::access::key_set::KeySet;
use crate::config::Secret;
use crate::identity_provider::code_row::Member::Code;
use crate::identity_provider::code_row::row;
use crate::identity_provider::doctor_questions::DialectFinding;
use crate::identity_provider::endpoints::below;
use crate::identity_provider::outcome::{ChallengeKind, LoginError, RefreshError, RevokeError};
use crate::identity_provider::provider::IdentityProvider;
use crate::identity_provider::testing;
use crate::identity_provider::testing::server::{JWK, Server, client, credentials};
use crate::identity_provider::webhook::{WebhookError, WebhookEvent};

/// It signs users in as the standards say, but with JSON. It refreshes at an address of its own, and has words of its
/// own.
#[derive(Debug)]
struct Acme;

const CODES: &[Row] = &[
    row(Code, &["acme_gone"], "Acme").dead(),
    row(Code, &["acme_key_wanted"], "Acme").step(ChallengeKind::TwoFactor),
];

const QUESTIONS: &[Question] = &[Question {
    call: Asked::Refresh,
    good: "Acme renews",
    bad: "Acme does not renew",
    fix: "turn `renew` on there",
}];

impl Dialect for Acme {
    fn endpoints(
        &self,
        config: &config::IdentityProvider,
        configured: Endpoints,
    ) -> Result<Endpoints, SetupError> {
        let base: Url = config
            .issuer
            .parse()
            .map_err(|_| SetupError::NoBase { issuer: config.issuer.clone(), hint: "write where Acme is" })?;
        Ok(configured.or(Endpoints {
            token: Some(below(&base, "acme/login")),
            refresh: Some(below(&base, "acme/renew")),
            revocation: Some(below(&base, "acme/bye")),
            end_session: None,
            jwks: Some(below(&base, "jwks")),
        }))
    }

    fn login<'a>(&self, credentials: &'a Credentials, _scope: Option<&'a str>) -> Body<'a> {
        let body = json!({ "who": credentials.username.as_str(), "word": credentials.password.as_str() });
        Body::Json(Zeroizing::new(body.to_string().into_bytes()))
    }

    fn refresh_endpoint<'a>(&self, endpoints: &'a Endpoints) -> Option<&'a Url> {
        endpoints.refresh.as_ref()
    }

    fn revoke<'a>(&self, refresh_token: &'a str) -> Body<'a> {
        Body::Query(vec![("ticket", refresh_token)])
    }

    fn codes(&self) -> &'static [Row] {
        CODES
    }

    fn challenge(&self) -> &'static [&'static str] {
        &["acme_key"]
    }

    fn refuses_refresh_token(&self, said: &Said<'_>) -> bool {
        said.status == 418
    }

    fn blame_logout(&self, said: &Said<'_>) -> LogoutBlame {
        match said.status {
            423 => LogoutBlame { meaning: AtLogout::Refused, words: Some("Acme keeps it") },
            _ => LogoutBlame::from(AtLogout::Done),
        }
    }

    fn doctor_questions(&self) -> &'static [Question] {
        QUESTIONS
    }

    fn webhook(
        &self,
        _settings: &config::Webhook,
        client_id: &str,
        _provider: &config::IdentityProvider,
    ) -> Option<Box<dyn Webhook>> {
        Some(Box::new(Bell { client_id: client_id.to_owned() }))
    }
}

/// Its webhook: a header says who rings, and the body is a user.
#[derive(Debug)]
struct Bell {
    client_id: String,
}

impl Webhook for Bell {
    fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        _keys: &KeySet,
        now: u64,
    ) -> Result<WebhookEvent, WebhookError> {
        let rings = headers.get("x-acme").ok_or(WebhookError::Unsigned)?;
        if rings.as_bytes() != self.client_id.as_bytes() {
            return Ok(WebhookEvent::Nobody);
        }
        let subject = String::from_utf8_lossy(body).into_owned();
        Ok(WebhookEvent::User { subject, issued_until: now })
    }
}

async fn acme() -> (Server, IdentityProvider) {
    let server = Server::start().await;
    server.publish_keys(&[JWK]);
    let mut config = testing::config(&server.base);
    config.hmac_secret = Some(Secret::new("a secret of thirty-two bytes, say"));
    let provider = IdentityProvider::speaking(&Acme, &config).unwrap();
    (server, provider)
}

#[tokio::test]
async fn a_new_kind_signs_in_refreshes_and_revokes_in_its_own_way() {
    let (server, provider) = acme().await;
    server.answer("/acme/login", 200, r#"{"access_token":"a","refresh_token":"r"}"#);
    let tokens = provider.password_grant(&client(), &credentials("ann", "pw")).await.unwrap();
    assert_eq!(tokens.access_token.as_str(), "a");
    let seen = &server.seen("/acme/login")[0];
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap(),
        json!({"who": "ann", "word": "pw"})
    );
    assert_eq!(seen.header("authorization"), None);

    server.answer("/acme/renew", 200, r#"{"access_token":"b"}"#);
    provider.refresh_grant(&client(), "r", None).await.unwrap();
    let form = server.seen("/acme/renew")[0].form();
    assert!(form.contains(&(String::from("refresh_token"), String::from("r"))), "{form:?}");

    server.answer("/acme/bye", 500, "");
    assert_eq!(provider.revoke(&client(), "r&x").await, Ok(()));
    assert_eq!(server.seen("/acme/bye")[0].query, "ticket=r%26x");
    server.answer("/acme/bye", 423, "");
    let refused = RevokeError::Refused(String::from("Acme keeps it"));
    assert_eq!(provider.revoke(&client(), "r").await, Err(refused));
}

#[tokio::test]
async fn a_new_kind_has_words_of_its_own() {
    let (server, provider) = acme().await;
    let key = r#"{"error":"acme_key_wanted","acme_key":"k","secret":"s"}"#;
    server.answer("/acme/login", 400, key);
    let error = provider.password_grant(&client(), &credentials("ann", "pw")).await.unwrap_err();
    let LoginError::Challenge(kind, value, _) = error else { panic!("{error:?}") };
    assert_eq!((kind, value), (ChallengeKind::TwoFactor, json!({ "acme_key": "k" })));

    for (status, body, is_dead) in
        [(400, r#"{"error":"acme_gone"}"#, true), (418, "", true), (400, "", false)]
    {
        server.answer("/acme/renew", status, body);
        let error = provider.refresh_grant(&client(), "r", None).await.unwrap_err();
        assert_eq!(matches!(error, RefreshError::Dead(_)), is_dead, "{status} {body}");
    }
    assert_eq!(provider.probe_dialect(&client()).await.len(), 1);
    server.answer("/acme/renew", 418, "");
    assert_eq!(provider.probe_dialect(&client()).await, [DialectFinding::Good("Acme renews")]);
    server.answer("/acme/renew", 404, "no");
    let findings = provider.probe_dialect(&client()).await;
    let [DialectFinding::Bad { problem, fix }] = findings.as_slice() else { panic!("{findings:?}") };
    assert!(problem.text.starts_with("Acme does not renew: status 404"), "{problem}");
    assert_eq!(*fix, "turn `renew` on there");
}

#[tokio::test]
async fn a_new_kind_has_a_webhook_of_its_own() {
    let toml = "[identity_providers.main]\nissuer = 'https://acme.com'\nkind = 'fusionauth'\n\
                [apps.a]\nhosts = ['a']\nupstreams = ['http://b']\nclient_id = 'shop'\nclient_secret = 's'\n\
                fusionauth_webhook.path = '/api/bell'";
    let mut app = config::parse(toml).unwrap().config.apps.remove(0);
    let (_server, provider) = acme().await;
    let read = |rings: Option<&'static str>| {
        let headers = rings.map(|name| (http::HeaderName::from_static("x-acme"), name.parse().unwrap()));
        let headers: HeaderMap = headers.into_iter().collect();
        provider.webhook(&app).unwrap().read(&headers, b"ann", &provider.key_set(), 7)
    };
    let of_ann = WebhookEvent::User { subject: String::from("ann"), issued_until: 7 };
    assert_eq!(read(Some("shop")), Ok(of_ann));
    assert_eq!(read(Some("forums")), Ok(WebhookEvent::Nobody));
    assert_eq!(read(None), Err(WebhookError::Unsigned));
    app.webhook = None;
    assert!(provider.webhook(&app).is_none());
}
