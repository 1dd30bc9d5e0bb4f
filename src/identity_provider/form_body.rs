//! Form bodies (application/x-www-form-urlencoded), in buffers that are zeroised.

use bytes::Bytes;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::identity_provider::client::Client;

/// Bytes that are zeroised when the last [`Bytes`] made of them is dropped.
pub(super) struct ZeroizingBytes(pub(super) Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for ZeroizingBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A form under construction.
pub(super) struct Form(Zeroizing<Vec<u8>>);

impl Form {
    /// Makes an empty form.
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// Adds a field.
    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        // The buffer grows by hand, because a reallocation would leave a copy of a password behind.
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

    /// Adds the parameters that the token endpoint wants in addition to a grant.
    pub(super) fn parameters(mut self, client: &Client) -> Self {
        for parameter in &client.parameters {
            for value in &parameter.values {
                self = self.field(&parameter.name, value.text.expose());
            }
        }
        self
    }

    /// Returns the body to send.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(ZeroizingBytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_survives_the_encoding() {
        let body = Form::new().field("password", "Pä ss+w%rd&=✓").into_bytes();
        let parsed: Vec<_> = url::form_urlencoded::parse(&body).into_owned().collect();
        assert_eq!(parsed, [(String::from("password"), String::from("Pä ss+w%rd&=✓"))]);
    }
}
