//! Which client calls, and whether it is who it says it is (RFC 6749 section 2.3.1).

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::answer::OAuthError;

/// The registered clients with their secrets.
const CLIENTS: [(&str, &str); 2] = [("store", "store-demo-secret"), ("forums", "forums-demo-secret")];

/// A request's form, no parameter of which comes twice (RFC 6749 section 3.2).
#[derive(Debug)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, OAuthError> {
        let content_type =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(OAuthError::invalid_request("the body must be application/x-www-form-urlencoded"));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(OAuthError::invalid_request("a parameter is repeated"));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// A parameter's value; an empty one counts as missing.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn require(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| OAuthError::invalid_request(&format!("missing parameter: {name}")))
    }
}

/// The id of the client, if its secret is right: by HTTP Basic, form-encoded, or in the body.
pub(crate) fn authenticate(headers: &HeaderMap, form: &Form) -> Result<&'static str, OAuthError> {
    let refused =
        || OAuthError::new(StatusCode::UNAUTHORIZED, "invalid_client", "client authentication failed");
    let credentials = match headers.get(header::AUTHORIZATION) {
        Some(_) if form.get("client_secret").is_some() => {
            return Err(OAuthError::invalid_request("more than one way of client authentication"));
        }
        Some(value) => value.to_str().ok().and_then(basic_credentials),
        None => form
            .get("client_id")
            .zip(form.get("client_secret"))
            .map(|(id, secret)| (id.into(), secret.into())),
    };
    let (id, secret): (String, String) = credentials.ok_or_else(refused)?;
    let (known, right) = CLIENTS.into_iter().find(|(known, _)| *known == id).ok_or_else(refused)?;
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(right.as_bytes(), secret.as_bytes());
    same.map_err(|_| refused())?;
    Ok(known)
}

fn basic_credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    let plain = text.replace('+', " ");
    percent_encoding::percent_decode_str(&plain).decode_utf8_lossy().into_owned()
}
