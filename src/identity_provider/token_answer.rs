//! The body of a successful token answer (RFC 6749 section 5.1).

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::access::tokens::{AccessToken, RefreshToken};
use crate::identity_provider::outcome::TokenSet;

/// The longest token that is accepted, in bytes. A JWT with very many roles has some 8 KB.
const MAX_TOKEN: usize = 16 * 1024;

/// The members that are read. Everything else in the answer is ignored.
#[derive(Deserialize)]
struct Body {
    access_token: Option<Zeroized>,
    refresh_token: Option<Zeroized>,
    token_type: Option<String>,
}

/// A token of an answer, zeroised on drop.
#[derive(Deserialize)]
#[serde(from = "String")]
pub(super) struct Zeroized(Zeroizing<String>);

impl From<String> for Zeroized {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

/// Reads a token endpoint's answer. An error says what is wrong with it, and contains nothing of the answer.
pub(super) fn parse(body: &[u8]) -> Result<TokenSet, &'static str> {
    let body: Body = serde_json::from_slice(body).map_err(|_| "the token answer is not the JSON expected")?;
    if body.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("the token answer's token_type is not Bearer");
    }
    token_set(body.access_token, body.refresh_token)
}

/// Checks the tokens of an answer.
pub(super) fn token_set(
    access: Option<Zeroized>,
    refresh: Option<Zeroized>,
) -> Result<TokenSet, &'static str> {
    let access = access.map(|token| token.0).filter(|token| !token.is_empty());
    let refresh = refresh.map(|token| token.0).filter(|token| !token.is_empty());
    let access_token = access.ok_or("the token answer has no access token")?;
    for token in [Some(&access_token), refresh.as_ref()].into_iter().flatten() {
        if token.len() > MAX_TOKEN {
            return Err("the token answer has a token of more than 16 KiB");
        }
        // Only VSCHAR is permitted (RFC 6749 appendices A.12 and A.17). The loop always runs to the end, so that it
        // compares many bytes at once.
        if token.bytes().fold(false, |found, byte| found | !(0x20..=0x7e).contains(&byte)) {
            return Err("the token answer has a token with characters that no token has");
        }
    }
    Ok(TokenSet {
        access_token: AccessToken::new(access_token),
        refresh_token: refresh.map(RefreshToken::new),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(result: Result<TokenSet, &'static str>) -> Option<(String, Option<String>)> {
        let set = result.ok()?;
        Some((set.access_token.to_string(), set.refresh_token.map(|token| token.to_string())))
    }

    #[test]
    fn usable_answers() {
        let cases = [
            (r#"{"access_token":"a"}"#, None),
            (r#"{"access_token":"a","token_type":"bearer","refresh_token":"r"}"#, Some("r")),
            (r#"{"access_token":"a","token_type":"BEARER","refresh_token":null,"x":[1]}"#, None),
            (r#"{"access_token":"a","refresh_token":"","expires_in":"soon"}"#, None),
            (r#"{"access_token":"a","token_type":null}"#, None),
        ];
        for (body, refresh) in cases {
            let expected = Some((String::from("a"), refresh.map(String::from)));
            assert_eq!(tokens(parse(body.as_bytes())), expected, "{body}");
        }
    }

    #[test]
    fn unusable_answers() {
        let long = format!(r#"{{"access_token":"{}"}}"#, "a".repeat(MAX_TOKEN + 1));
        let bodies = [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":null}"#,
            r#"{"access_token":7}"#,
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            r#"{"access_token":"a","refresh_token":["r"]}"#,
            r#"{"access_token":"a","access_token":"b"}"#,
            r#"{"access_token":"a\u0000"}"#,
            r#"{"access_token":"a\r\nX: y"}"#,
            r#"{"token":"a"}"#,
            &long,
        ];
        for body in bodies {
            assert_eq!(tokens(parse(body.as_bytes())), None, "{body}");
        }
    }
}
