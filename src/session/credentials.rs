//! The body of a login: read strictly, and nothing of it goes on but user name and password.

use serde_json::Value;
use zeroize::Zeroizing;

use crate::config;
use crate::identity_provider::Credentials;
use crate::respond::{Code, Problem};
use crate::strict_form::{self, FormError};
use crate::strict_json;

/// A login's object is flat; what an app adds beside the two fields may be a little deeper.
const MAX_DEPTH: usize = 4;

/// Bytes of a user name or password.
const MAX_FIELD_LENGTH: usize = 4 * 1024;

/// How a login's body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

impl BodyFormat {
    /// Reads `Content-Type` and `Content-Encoding`. Compressed bodies are not taken.
    pub fn from_headers(
        content_type: Option<&[u8]>,
        content_encoding: Option<&[u8]>,
    ) -> Result<Self, Problem> {
        const UNSUPPORTED: Problem = Problem::new(
            Code::UnsupportedMediaType,
            "Send `application/json` or `application/x-www-form-urlencoded` in UTF-8, not compressed.",
        );
        if content_encoding.is_some_and(|encoding| !encoding.trim_ascii().eq_ignore_ascii_case(b"identity")) {
            return Err(UNSUPPORTED);
        }
        let content_type =
            content_type.and_then(|value| std::str::from_utf8(value).ok()).ok_or(UNSUPPORTED)?;
        let mut parts = content_type.split(';').map(str::trim);
        let format = match parts.next() {
            Some(name) if name.eq_ignore_ascii_case("application/json") => Self::Json,
            Some(name) if name.eq_ignore_ascii_case("application/x-www-form-urlencoded") => Self::Form,
            _ => return Err(UNSUPPORTED),
        };
        let is_utf8 = |value: &str| value.trim_matches('"').eq_ignore_ascii_case("utf-8");
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            if name.trim().eq_ignore_ascii_case("charset") && !is_utf8(value.trim()) {
                return Err(UNSUPPORTED);
            }
        }
        Ok(format)
    }
}

/// Finds user name and password in a body.
pub fn parse(format: BodyFormat, body: &[u8], login: &config::Login) -> Result<Credentials, Problem> {
    let (username, password) = match format {
        BodyFormat::Json => from_json(body, login)?,
        BodyFormat::Form => from_form(body, login)?,
    };
    for field in [&username, &password] {
        if field.is_empty() {
            return Err(bad("A user name and a password are needed."));
        }
        if field.len() > MAX_FIELD_LENGTH || field.contains('\0') {
            return Err(bad("A field has a value that cannot be accepted."));
        }
    }
    Ok(Credentials { username: username.to_string(), password })
}

const fn bad(detail: &'static str) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

type Fields = (Zeroizing<String>, Zeroizing<String>);

fn from_json(body: &[u8], login: &config::Login) -> Result<Fields, Problem> {
    // The parser's own message may quote the body: it is not passed on.
    let mut object = strict_json::parse_object(body, MAX_DEPTH)
        .map_err(|_| bad("The body is not a JSON object that can be accepted."))?;
    let mut take = |name: &str| match object.remove(name) {
        Some(Value::String(text)) => Ok(Zeroizing::new(text)),
        Some(_) => Err(bad("User name and password must be strings.")),
        None => Err(bad("A user name and a password are needed.")),
    };
    Ok((take(&login.username_field)?, take(&login.password_field)?))
}

fn from_form(body: &[u8], login: &config::Login) -> Result<Fields, Problem> {
    let mut fields = strict_form::parse(body).map_err(|error| match error {
        FormError::Malformed => bad("The body is not a form that can be accepted."),
        FormError::Duplicate => bad("A field comes twice."),
    })?;
    let username = fields.take(&login.username_field);
    username.zip(fields.take(&login.password_field)).ok_or(bad("A user name and a password are needed."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn login() -> config::Login {
        config::Login {
            path: "/api/login".into(),
            username_field: "username".into(),
            password_field: "password".into(),
        }
    }

    fn read(format: BodyFormat, body: &[u8]) -> Option<(String, String)> {
        let credentials = parse(format, body, &login()).ok()?;
        Some((credentials.username.clone(), credentials.password.to_string()))
    }

    #[test]
    fn json_and_forms_say_the_same() {
        let expected = Some(("alice".to_owned(), "Pä ss+w%rd&=✓".to_owned()));
        let json = r#"{"username": "alice", "password": "Pä ss+w%rd&=✓", "remember": {"me": [true]}}"#;
        assert_eq!(read(BodyFormat::Json, json.as_bytes()), expected);
        let form = b"username=alice&password=P%C3%A4+ss%2Bw%25rd%26%3D%E2%9C%93&remember=on&grant_type=x";
        assert_eq!(read(BodyFormat::Form, form), expected);
    }

    #[test]
    fn what_is_malformed_or_ambiguous_is_refused() {
        for body in [
            &b""[..],
            b"{}",
            b"[]",
            b"null",
            b"\"x\"",
            br#"{"username": "a"}"#,
            br#"{"username": "a", "password": 1}"#,
            br#"{"username": "a", "password": null}"#,
            br#"{"username": "a", "password": ["x"]}"#,
            br#"{"username": "a", "username": "b", "password": "x"}"#,
            br#"{"username": "a", "password": "\u0000"}"#,
            br#"{"username": "a", "password": "\ud800"}"#,
            br#"{"username": "", "password": "x"}"#,
            br#"{"username": "a", "password": ""}"#,
            b"{\"username\": \"a\", \"password\": \"\xff\"}",
            br#"{"username": "a", "password": "x", "deep": [[[[[]]]]]}"#,
            br#"{"username": "a", "password": "x"} {}"#,
        ] {
            assert_eq!(read(BodyFormat::Json, body), None, "{}", String::from_utf8_lossy(body));
        }
        for body in [
            &b""[..],
            b"username=a",
            b"username=a&password=",
            b"username=a&password=x&password=y",
            b"username=a&password=%zz",
            b"username=a&password=%f",
            b"username=a&password=%ff",
            b"username=a&password=%00",
            b"user%6eame=a&username=b&password=x",
            b"username=a&password=x&z=1&z=2",
        ] {
            assert_eq!(read(BodyFormat::Form, body), None, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn media_types() {
        use BodyFormat::{Form, Json};
        for (content_type, encoding, expected) in [
            ("application/json", None, Some(Json)),
            ("Application/JSON; charset=UTF-8", None, Some(Json)),
            ("application/json;charset=\"utf-8\"", Some("identity"), Some(Json)),
            ("application/x-www-form-urlencoded", None, Some(Form)),
            ("application/json; charset=utf-16", None, None),
            ("application/json", Some("gzip"), None),
            ("text/plain", None, None),
            ("multipart/form-data; boundary=x", None, None),
            ("application/jsonx", None, None),
            ("", None, None),
        ] {
            let format = BodyFormat::from_headers(Some(content_type.as_bytes()), encoding.map(str::as_bytes));
            assert_eq!(format.ok(), expected, "{content_type} {encoding:?}");
        }
        assert!(BodyFormat::from_headers(None, None).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(BodyFormat::Json, &body);
            let _ = read(BodyFormat::Form, &body);
        }
    }
}
