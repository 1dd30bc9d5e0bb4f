//! The body of a login.
//!
//! An input is a line with the Content-Type, `|` and the Content-Encoding where there is one, and the body. What is
//! accepted has exactly one user name and one password in the eyes of other parsers, and these come out. They come out
//! again when they are written as another format.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::config::Login;
use portcullis::session::{BodyFormat, BodyKind, parse_credentials};
use portcullis_fuzz::{json, split_line};
use serde_json::{Value, json};
use url::form_urlencoded;

fuzz_target!(|input: &[u8]| {
    let (first, body) = split_line(input);
    let mut headers = first.splitn(2, |&byte| byte == b'|');
    let (content_type, content_encoding) = (headers.next(), headers.next());
    match BodyFormat::from_headers(content_type, content_encoding, BodyKind::OF_LOGINS) {
        Ok(format) => check(&format, body),
        // Without a boundary there is no reading.
        Err(problem) => assert!(matches!(problem.status.as_u16(), 400 | 415)),
    }
});

fn login() -> Login {
    Login { path: "/api/login".into(), username_field: "username".into(), password_field: "password".into() }
}

fn read(format: &BodyFormat, body: &[u8]) -> Option<(String, String)> {
    match parse_credentials(format, body, &login()) {
        Ok(credentials) => Some((credentials.username.to_string(), credentials.password.to_string())),
        Err(problem) => {
            // A part may be in another charset.
            let is_charset = problem.status.as_u16() == 415 && matches!(format, BodyFormat::Multipart(_));
            assert!(problem.status.as_u16() == 400 || is_charset);
            assert!(problem.detail.len() < 1024);
            None
        }
    }
}

fn check(format: &BodyFormat, body: &[u8]) {
    let Some(credentials) = read(format, body) else { return };
    let (username, password) = &credentials;
    for field in [username, password] {
        assert!(!field.is_empty() && field.len() <= 4096 && !field.contains('\0'));
    }
    let expected = match format {
        BodyFormat::Json => from_json(body),
        BodyFormat::Form => from_form(body),
        BodyFormat::Multipart(_) => Some(credentials.clone()),
    };
    assert_eq!(Some(&credentials), expected.as_ref(), "another parser reads something else");

    let as_json = json!({"username": username, "password": password}).to_string();
    assert_eq!(read(&BodyFormat::Json, as_json.as_bytes()).as_ref(), Some(&credentials));
    let mut form = form_urlencoded::Serializer::new(String::new());
    let as_form = form.append_pair("username", username).append_pair("password", password).finish();
    assert_eq!(read(&BodyFormat::Form, as_form.as_bytes()).as_ref(), Some(&credentials));
    let part = |name, value| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n")
    };
    let parts = part("username", username) + &part("password", password);
    if parts.matches(BOUNDARY).count() == 2 {
        let as_parts = format!("{parts}--{BOUNDARY}--");
        let format = BodyFormat::Multipart(BOUNDARY.into());
        assert_eq!(read(&format, as_parts.as_bytes()), Some(credentials));
    }
}

const BOUNDARY: &str = "----portcullis";

fn from_json(body: &[u8]) -> Option<(String, String)> {
    assert!(!json::has_name_twice(body, &["username", "password"]), "one of the two comes twice");
    let object: Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| object.get(name)?.as_str().map(String::from);
    text("username").zip(text("password"))
}

fn from_form(body: &[u8]) -> Option<(String, String)> {
    let pairs: Vec<_> = form_urlencoded::parse(body).into_owned().collect();
    let the_one = |name: &str| {
        let values: Vec<_> =
            pairs.iter().filter(|(field, _)| field == name).map(|(_, value)| value).collect();
        match values.as_slice() {
            [value] => Some(String::clone(value)),
            _ => None,
        }
    };
    the_one("username").zip(the_one("password"))
}
