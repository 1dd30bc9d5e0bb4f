//! Parses the body of a login. The user name and the password are read strictly. Nothing else from the body is used.

use zeroize::Zeroizing;

use crate::answer::problem::Problem;
use crate::config;
use crate::identity_provider::Credentials;
use crate::session::body_format::{BodyFormat, other_charset};
use crate::session::login_fields::{Fields, Flaw, Value, refuse};
use crate::syntax::media_type::is_utf8;
use crate::syntax::multipart;
use crate::syntax::multipart::Part;
use crate::syntax::redacted::Redacted;
use crate::syntax::{form, json};

/// The largest depth of a JSON body. The login's own object is flat. Fields that an app adds may be a little deeper.
const MAX_DEPTH: usize = 4;

/// The field that names the charset of the other fields (RFC 7578 section 4.6).
const CHARSET_FIELD: &str = "_charset_";

/// Finds the user name and the password in a body.
pub fn parse(format: &BodyFormat, body: &[u8], login: &config::Login) -> Result<Credentials, Problem> {
    let fields = match format {
        BodyFormat::Json => of_json(body, login)?,
        BodyFormat::Form => of_form(body, login)?,
        BodyFormat::Multipart(boundary) => of_multipart(body, boundary, login)?,
    };
    let (username, password) = fields.finish()?;
    Ok(Credentials { username: Redacted(username), password: Redacted(password) })
}

fn of_json<'a>(body: &[u8], login: &'a config::Login) -> Result<Fields<'a>, Problem> {
    // The parser's own message may quote the body, so it is not passed on.
    let members = json::members(body, MAX_DEPTH).map_err(|_| refuse(Flaw::Json, login))?;
    let mut fields = Fields::new(login);
    for (name, value) in members {
        let text = match value {
            serde_json::Value::String(text) => Ok(Zeroizing::new(text)),
            _ => Err(Flaw::NoText),
        };
        fields.add(&name, true, || text);
    }
    Ok(fields)
}

fn of_form<'a>(body: &[u8], login: &'a config::Login) -> Result<Fields<'a>, Problem> {
    // `curl -d` sends JSON with the media type of a form.
    let is_json = body.trim_ascii_start().starts_with(b"{");
    let malformed = if is_json { Flaw::JsonAsForm } else { Flaw::Form };
    let pairs = form::pairs(body).map_err(|_| refuse(malformed, login))?;
    let mut fields = Fields::new(login);
    if is_json {
        fields.without_these = Flaw::JsonAsForm;
    }
    for form::Pair { name, value } in pairs {
        let has_value = value.is_some();
        fields.add(&name, has_value, || Ok(value.unwrap_or_default()));
    }
    Ok(fields)
}

fn of_multipart<'a>(body: &[u8], boundary: &str, login: &'a config::Login) -> Result<Fields<'a>, Problem> {
    let parts = multipart::parse(body, boundary).ok_or_else(|| refuse(Flaw::Multipart, login))?;
    let mut fields = Fields::new(login);
    for part in parts {
        let is_wanted = part.name == login.username_field || part.name == login.password_field;
        if let Some(charset) = charset(&part).filter(|charset| !is_utf8(charset))
            && (is_wanted || part.name == CHARSET_FIELD)
        {
            return Err(other_charset(charset));
        }
        fields.add(&part.name, true, || text(&part));
    }
    Ok(fields)
}

/// Returns the charset that a part names: its own, or the charset of all parts.
fn charset<'p>(part: &'p Part<'_>) -> Option<&'p str> {
    if part.name == CHARSET_FIELD {
        return std::str::from_utf8(part.value).ok();
    }
    part.media_type.as_ref()?.other_charset()
}

/// Reads a part as the value of a text field.
fn text(part: &Part<'_>) -> Value {
    if part.is_file {
        return Err(Flaw::File);
    }
    let is_text = part.media_type.as_ref().is_none_or(|media_type| media_type.is("text/plain"));
    match std::str::from_utf8(part.value) {
        Ok(text) if is_text && !part.is_encoded => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(Flaw::Encoded),
    }
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

    fn read(format: &BodyFormat, body: &[u8]) -> Option<(String, String)> {
        let credentials = parse(format, body, &login()).ok()?;
        Some((credentials.username.to_string(), credentials.password.to_string()))
    }

    #[test]
    fn json_and_forms_say_the_same() {
        let expected = Some(("alice".to_owned(), "Pä ss+w%rd&=✓".to_owned()));
        let json = r#"{"username": "alice", "password": "Pä ss+w%rd&=✓", "remember": {"me": [true]}}"#;
        assert_eq!(read(&BodyFormat::Json, json.as_bytes()), expected);
        let form = b"username=alice&password=P%C3%A4+ss%2Bw%25rd%26%3D%E2%9C%93&remember=on&grant_type=x";
        assert_eq!(read(&BodyFormat::Form, form), expected);
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
            br#"{"username": "a", "username": "a", "password": "x"}"#,
            br#"{"username": null, "username": "a", "password": "x"}"#,
            br#"{"username": "a", "\u0070assword": "x", "password": "x"}"#,
            br#"{"username": "a", "password": "\u0000"}"#,
            br#"{"username": "a", "password": "\ud800"}"#,
            br#"{"username": "", "password": "x"}"#,
            br#"{"username": "a", "password": ""}"#,
            b"{\"username\": \"a\", \"password\": \"\xff\"}",
            br#"{"username": "a", "password": "x", "deep": [[[[[]]]]]}"#,
            br#"{"username": "a", "password": "x"} {}"#,
        ] {
            assert_eq!(read(&BodyFormat::Json, body), None, "{}", String::from_utf8_lossy(body));
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
            b"username=a&password",
            b"username=a&password=x&password",
        ] {
            assert_eq!(read(&BodyFormat::Form, body), None, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn what_is_not_used_may_come_twice() {
        let expected = Some(("a".to_owned(), "x".to_owned()));
        for body in [
            &br#"{"z": 1, "username": "a", "z": [{"y": 1, "y": 2}], "password": "x"}"#[..],
            br#"{"Username": "b", "Username": "c", "username": "a", "password": "x"}"#,
            br#"{"x": {"username": "b", "username": "c"}, "username": "a", "password": "x"}"#,
        ] {
            assert_eq!(read(&BodyFormat::Json, body), expected, "{}", String::from_utf8_lossy(body));
        }
        for body in
            [&b"username=a&password=x&z=1&z=2"[..], b"z&z&username=a&%7a=&password=x&Password=y&Password="]
        {
            assert_eq!(read(&BodyFormat::Form, body), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn json_in_a_form_is_called_so_and_fields_of_odd_names_do_not_matter() {
        for (body, expected) in [
            (r#"{"username": "a", "password": "x"}"#, "The body looks like JSON"),
            (r#" {"username": "a", "password": "100%"}"#, "The body looks like JSON"),
            ("x=%zz", "The body is not a form"),
            ("x=1", "A user name and a password are needed."),
        ] {
            let problem = parse(&BodyFormat::Form, body.as_bytes(), &login()).unwrap_err();
            assert!(problem.detail.starts_with(expected), "{body}: {}", problem.detail);
        }
        let odd = b"{=1&username=a&password=x";
        assert_eq!(read(&BodyFormat::Form, odd), Some(("a".to_owned(), "x".to_owned())));
    }

    #[test]
    fn multipart_says_the_same() {
        let expected = Some(("alice".to_owned(), "P\u{e4} ss+w%rd&=\r\n".to_owned()));
        let part = |head: &str, value: &str| {
            format!("--x\r\nContent-Disposition: form-data; name={head}\r\n\r\n{value}\r\n")
        };
        let password = "P\u{e4} ss+w%rd&=\r\n";
        let body = part("username", "alice") + &part("password", password);
        let multipart = BodyFormat::Multipart("x".into());
        assert_eq!(read(&multipart, (body.clone() + "--x--").as_bytes()), expected);
        let other = part("z; filename=z\r\nContent-Type: a/b; charset=latin1", "\0") + &part("z", "1");
        assert_eq!(read(&multipart, (other + &body + "--x--").as_bytes()), expected);
        for more in [
            part("password", password),
            part("username", "alice"),
            part("_charset_", "iso-8859-1"),
            part("_charset_", ""),
        ] {
            assert_eq!(read(&multipart, (body.clone() + &more + "--x--").as_bytes()), None, "{more}");
        }
        for head in [
            "password; filename=x",
            "password\r\nContent-Type: application/json",
            "password\r\nContent-Type: text/plain; charset=utf-16",
            "password\r\nContent-Transfer-Encoding: base64",
            "Password",
        ] {
            let body = part("username", "alice") + &part(head, password) + "--x--";
            assert_eq!(read(&multipart, body.as_bytes()), None, "{head}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&BodyFormat::Json, &body);
            let _ = read(&BodyFormat::Form, &body);
            let _ = read(&BodyFormat::Multipart("x".into()), &body);
        }
    }
}
