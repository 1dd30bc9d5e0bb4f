//! Talking to a provider directly, past the gateway.

use http::Method;
use serde_json::Value;

/// A client of a provider, to ask it about refresh tokens.
#[derive(Clone)]
pub(crate) struct Client {
    /// The provider's token endpoint.
    pub(crate) token_endpoint: String,
    /// The provider's revocation endpoint.
    pub(crate) revocation_endpoint: String,
    /// Its id.
    pub(crate) id: String,
    /// Its secret.
    pub(crate) secret: String,
}

impl Client {
    /// Uses a refresh token up; the status of the token endpoint's answer.
    pub(crate) async fn refresh(&self, refresh_token: &str) -> u16 {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.post(&self.token_endpoint, &fields).await
    }

    /// Revokes a refresh token, as the provider's operator might.
    pub(crate) async fn revoke(&self, refresh_token: &str) {
        let fields = [("token", refresh_token), ("token_type_hint", "refresh_token")];
        let status = self.post(&self.revocation_endpoint, &fields).await;
        assert_eq!(status, 200, "the provider revokes");
    }

    /// Exchanges another client's access token for a refresh token (RFC 8693); the status of the answer.
    pub(crate) async fn exchange(&self, access_token: &str) -> u16 {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", access_token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
        ];
        self.post(&self.token_endpoint, &fields).await
    }

    async fn post(&self, endpoint: &str, fields: &[(&str, &str)]) -> u16 {
        let answer = http()
            .post(endpoint)
            .basic_auth(&self.id, Some(&self.secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form(fields))
            .send()
            .await
            .expect("an answer of the provider");
        answer.status().as_u16()
    }
}

/// A request with a JSON body, or none, and perhaps one header; the answer has to be a 2xx.
pub(crate) async fn request(
    method: Method,
    url: &str,
    header: Option<(&str, &str)>,
    body: Option<&Value>,
) -> Value {
    let mut request = http().request(method.clone(), url);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let answer = request.send().await.expect("an answer of the provider");
    let status = answer.status();
    let text = answer.text().await.expect("its body");
    assert!(status.is_success(), "{method} {url}: {status} {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().build().expect("an HTTP client")
}
