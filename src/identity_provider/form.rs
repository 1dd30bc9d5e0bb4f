//! Form bodies (application/x-www-form-urlencoded) and client authentication, in buffers that are zeroised.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::HeaderValue;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::Client;
use crate::config::ClientAuthentication;

/// Bytes that are zeroised when the last [`Bytes`] made of them goes.
pub(super) struct ZeroizingBytes(pub(super) Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for ZeroizingBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A form under construction.
pub(super) struct Form(Zeroizing<Vec<u8>>);

impl Form {
    /// An empty form.
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// Adds a field.
    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        // Grown by hand: a reallocation would leave a copy of a password behind.
        let needed = name.len().saturating_add(value.len()).saturating_mul(3).saturating_add(2);
        let mut grown = Zeroizing::new(Vec::with_capacity(self.0.len().saturating_add(needed)));
        grown.extend_from_slice(&self.0);
        if !grown.is_empty() {
            grown.push(b'&');
        }
        byte_serialize(name.as_bytes()).for_each(|part| grown.extend_from_slice(part.as_bytes()));
        grown.push(b'=');
        byte_serialize(value.as_bytes()).for_each(|part| grown.extend_from_slice(part.as_bytes()));
        self.0 = grown;
        self
    }

    /// Adds what the token endpoint wants beside a grant.
    pub(super) fn parameters(mut self, client: &Client) -> Self {
        for parameter in &client.parameters {
            for value in &parameter.values {
                self = self.field(&parameter.name, value.text.expose());
            }
        }
        self
    }

    /// The body to send.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(ZeroizingBytes(self.0))
    }
}

/// Adds a client's authentication (RFC 6749 section 2.3.1): the form to send, and the `Authorization` header's value.
///
/// A client without a secret is a public one (RFC 6749 section 2.1), whatever the method: it names itself in the body.
pub(super) fn authenticate(
    method: ClientAuthentication,
    client: &Client,
    form: Form,
) -> (Form, Option<HeaderValue>) {
    let Some(secret) = client.secret.as_ref().map(crate::config::Secret::expose) else {
        return (form.field("client_id", &client.id), None);
    };
    match method {
        ClientAuthentication::None => (form.field("client_id", &client.id), None),
        ClientAuthentication::Post => {
            (form.field("client_id", &client.id).field("client_secret", secret), None)
        }
        ClientAuthentication::Basic => {
            let (id, secret) = (form_encode(&client.id), form_encode(secret));
            (form, basic(&id, &secret))
        }
        ClientAuthentication::BasicRaw => (form, basic(&client.id, secret)),
    }
}

fn form_encode(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(text.len().saturating_mul(3)));
    encoded.extend(byte_serialize(text.as_bytes()));
    encoded
}

/// `Basic` credentials (RFC 7617 section 2).
pub(super) fn basic(id: &str, secret: &str) -> Option<HeaderValue> {
    let mut pair =
        Zeroizing::new(String::with_capacity(id.len().saturating_add(secret.len()).saturating_add(1)));
    pair.push_str(id);
    pair.push(':');
    pair.push_str(secret);
    let capacity = pair.len().saturating_mul(2).saturating_add(10);
    let mut value = Zeroizing::new(String::with_capacity(capacity));
    value.push_str("Basic ");
    STANDARD.encode_string(pair.as_bytes(), &mut value);
    let value = Bytes::from_owner(ZeroizingBytes(Zeroizing::new(value.as_bytes().to_vec())));
    // Base64 is always a valid header value.
    let mut header = HeaderValue::from_maybe_shared(value).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn client(secret: &str) -> Client {
        Client { id: String::from("shop:1"), secret: Some(Secret::new(secret)), parameters: Vec::new() }
    }

    fn credentials(method: ClientAuthentication, client: &Client) -> (String, Option<String>) {
        let (form, header) = authenticate(method, client, Form::new().field("a", "b"));
        let body = String::from_utf8(form.into_bytes().to_vec()).unwrap();
        let header = header.map(|value| {
            assert!(value.is_sensitive());
            let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
            String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
        });
        (body, header)
    }

    #[test]
    fn each_method_authenticates_in_its_own_way() {
        let client = client("p+q%2Fr:s ü");
        let cases = [
            (ClientAuthentication::Basic, "a=b", Some("shop%3A1:p%2Bq%252Fr%3As+%C3%BC")),
            (ClientAuthentication::BasicRaw, "a=b", Some("shop:1:p+q%2Fr:s ü")),
            (ClientAuthentication::Post, "a=b&client_id=shop%3A1&client_secret=p%2Bq%252Fr%3As+%C3%BC", None),
            (ClientAuthentication::None, "a=b&client_id=shop%3A1", None),
        ];
        for (method, body, header) in cases {
            assert_eq!(
                credentials(method, &client),
                (body.to_owned(), header.map(str::to_owned)),
                "{method:?}"
            );
        }
    }

    #[test]
    fn a_client_without_a_secret_names_itself_in_the_body() {
        let client = Client { id: String::from("spa"), secret: None, parameters: Vec::new() };
        assert_eq!(
            credentials(ClientAuthentication::Basic, &client),
            (String::from("a=b&client_id=spa"), None)
        );
    }

    #[test]
    fn a_password_survives_the_encoding() {
        let body = Form::new().field("password", "Pä ss+w%rd&=✓").into_bytes();
        let parsed: Vec<_> = url::form_urlencoded::parse(&body).into_owned().collect();
        assert_eq!(parsed, [(String::from("password"), String::from("Pä ss+w%rd&=✓"))]);
    }
}
