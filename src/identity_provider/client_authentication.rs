//! The ways in which a client proves to a provider who it is (RFC 6749 section 2.3), in buffers that are zeroised.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::HeaderValue;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::config::ClientAuthentication;
use crate::identity_provider::client::Client;
use crate::identity_provider::form_body::{Form, ZeroizingBytes};

/// Adds a client's authentication (RFC 6749 section 2.3.1). Returns the form to send, and the value of `Authorization`.
///
/// A client without a secret is a public one (RFC 6749 section 2.1). Such a client names itself in the body, whatever
/// the method is.
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

/// Returns `Basic` credentials (RFC 7617 section 2).
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
}
