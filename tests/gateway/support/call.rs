//! Calls at the provider: what they are for, who makes them, what they say.

use base64::Engine;

use super::wire::Head;

/// The purpose of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    Discovery,
    Jwks,
    /// The password grant.
    Login,
    /// The refresh grant.
    Refresh,
    Revoke,
    /// Keycloak's way to end a session.
    EndSession,
    /// Anything else.
    Other,
}

/// One call, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) endpoint: Endpoint,
    pub(crate) head: Head,
    pub(crate) form: Vec<(String, String)>,
}

impl Call {
    /// The only value of a form field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all: Vec<_> = self.form.iter().filter(|(key, _)| key == name).collect();
        assert!(all.len() <= 1, "`{name}` was sent {} times", all.len());
        all.first().map(|(_, value)| value.as_str())
    }
}

/// Understands a request.
pub(crate) fn classify(head: Head, body: &[u8]) -> Call {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
    let grant = form.iter().find(|(name, _)| name == "grant_type").map(|(_, value)| value.as_str());
    let endpoint = match (head.word(1), grant) {
        ("/.well-known/openid-configuration", _) => Endpoint::Discovery,
        ("/jwks", _) => Endpoint::Jwks,
        ("/token", Some("password")) => Endpoint::Login,
        ("/token", Some("refresh_token")) => Endpoint::Refresh,
        ("/revoke", _) => Endpoint::Revoke,
        ("/logout", _) => Endpoint::EndSession,
        _ => Endpoint::Other,
    };
    Call { endpoint, head, form }
}

/// The client that a call authenticates as: `store` or `forums` with `<id>-secret`, in any of the usual ways.
pub(crate) fn client_of(call: &Call) -> Option<String> {
    let (id, secret) = match call.head.get("authorization") {
        Some(header) => {
            let encoded = header.strip_prefix("Basic ")?;
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (id, secret) = text.split_once(':')?;
            (id.to_owned(), secret.to_owned())
        }
        None => {
            (call.field("client_id")?.to_owned(), call.field("client_secret").unwrap_or("public").to_owned())
        }
    };
    (secret == format!("{id}-secret") || secret == "public" || secret.contains('%') || secret.contains('+'))
        .then_some(id)
}
