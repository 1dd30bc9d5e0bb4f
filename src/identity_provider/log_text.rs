//! Makes texts of a provider fit for a log line: short, escaped, and without secrets.

use crate::syntax::log_text;

/// The most characters of a provider's text that go into a log.
const MAX_CHARS: usize = 200;

/// The length from which a run of token characters may be a token, or a part of one. Such a run is left out.
const TOKEN_LIKE: usize = 24;

/// Returns an excerpt of `text`. Control characters and quotes are escaped, and long runs that look like a token are
/// replaced. If the text repeats one of `secrets`, nothing of it is returned.
pub(super) fn excerpt(text: &str, secrets: &[&str]) -> String {
    if secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret)) {
        return String::from("[a text that repeats a secret]");
    }
    let shortened: String = text.chars().take(MAX_CHARS).collect();
    let mut excerpt = String::with_capacity(shortened.len());
    for part in shortened.split_inclusive(|character| !is_token_character(character)) {
        let run = part.trim_end_matches(|character| !is_token_character(character));
        if run.len() >= TOKEN_LIKE && !is_words(run) {
            excerpt.push_str("[...]");
            excerpt.extend(part.get(run.len()..).unwrap_or_default().escape_debug());
        } else {
            excerpt.extend(part.escape_debug());
        }
    }
    if shortened.len() < text.len() {
        excerpt.push_str("...");
    }
    excerpt
}

/// Returns an excerpt of a public text, such as an issuer. The text is only shortened and escaped.
pub(super) fn escaped(text: &str) -> String {
    log_text::escaped(text, MAX_CHARS)
}

/// Tells whether a character can be in base64, base64url, hexadecimal digits or a JWT.
fn is_token_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '+' | '/' | '=' | '~')
}

/// Tells whether a run is made of words. Error codes such as `registration_verification_required` are also long, but
/// have no digits and no capitals.
fn is_words(run: &str) -> bool {
    run.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_text_is_harmless_in_a_log() {
        assert_eq!(excerpt("Invalid user credentials", &["pw"]), "Invalid user credentials");
        assert_eq!(excerpt("a\r\nlevel=error \u{1b}[31m", &[]), "a\\r\\nlevel=error \\u{1b}[31m");
        assert_eq!(excerpt("wrong: hunter2", &["hunter2"]), "[a text that repeats a secret]");
        assert_eq!(excerpt("token eyJhbGciOiJSUzI1NiIsInR5 is bad", &[]), "token [...] is bad");
        assert_eq!(excerpt("registration_verification_required", &[]), "registration_verification_required");
        let long = excerpt(&"x ".repeat(5_000), &[]);
        assert!(long.len() < 300 && long.ends_with("..."), "{long}");
    }
}
