//! A made-up kind of provider, written as a file of its own would be: nothing else has to know of it.

use serde_json::json;

use super::*;
use crate::config::Secret;
use crate::identity_provider::code_row::Member::Code;
use crate::identity_provider::code_row::row;
use crate::identity_provider::doctor_questions::DialectFinding;
use crate::identity_provider::endpoints::below;
use crate::identity_provider::outcome::{ChallengeKind, LoginError, RefreshError, RevokeError};
use crate::identity_provider::provider::IdentityProvider;
use crate::identity_provider::testing;
use crate::identity_provider::testing::server::{JWK, Server, client, credentials};

/// It signs users in as the standards say, but with JSON. It refreshes at an address of its own, and has words of its own.
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
    assert!(problem.starts_with("Acme does not renew: status 404"), "{problem}");
    assert_eq!(*fix, "turn `renew` on there");
}
