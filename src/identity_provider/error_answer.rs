//! The body of an error answer (RFC 6749 section 5.2), with the members that several providers add. `codes` has the
//! meaning of a code. This file has only the content and the shape of the body.

use serde_json::{Map, Value};

use crate::identity_provider::code_row::Member;
use crate::identity_provider::log_text::{escaped, excerpt};
use crate::identity_provider::provider_answer::Answer;
use crate::syntax::json;

/// The most that is passed on of a challenge, in bytes of JSON.
const MAX_CHALLENGE: usize = 8 * 1024;

/// The deepest nesting of objects in an error answer.
const MAX_DEPTH: usize = 32;

/// The most `error_codes` that the log shows.
const MAX_NUMBERS: usize = 8;

/// The shape of an answer without tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A JSON object whose `error` is a text, as providers answer.
    Code,
    /// Other JSON.
    Json,
    /// No body, and no field that announces one. Some providers say "no" by the status alone.
    Bare,
    /// An answer of a firewall, a proxy or a load balancer: a page, a text, or a request for credentials.
    Foreign,
}

/// The part of an error answer that matters.
pub(super) struct ErrorAnswer {
    shape: Shape,
    members: Map<String, Value>,
}

impl ErrorAnswer {
    /// Reads any answer. The content decides whether it is JSON, because several providers send JSON as text or HTML. A
    /// text that is not UTF-8 is read too, because its codes are still readable.
    pub(super) fn read(answer: &Answer) -> Self {
        let text = String::from_utf8_lossy(answer.json());
        let (shape, members) = match json::parse(text.as_bytes(), MAX_DEPTH) {
            Ok(Value::Object(members)) if members.get("error").is_some_and(Value::is_string) => {
                (Shape::Code, members)
            }
            Ok(Value::Object(members)) => (Shape::Json, members),
            Ok(_) => (Shape::Json, Map::new()),
            Err(_) if answer.body.is_empty() && announces_nothing(answer) => (Shape::Bare, Map::new()),
            Err(_) => (Shape::Foreign, Map::new()),
        };
        let shape = if shape == Shape::Json && answer.asks_for.is_some() { Shape::Foreign } else { shape };
        Self { shape, members }
    }

    /// Returns the shape of the body.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns `error`, or an empty text.
    pub(super) fn code(&self) -> &str {
        self.text("error")
    }

    /// Tells whether this member has this value. The other members count only beside an `error`.
    pub(super) fn says(&self, member: Member, value: &str) -> bool {
        if self.shape != Shape::Code {
            return false;
        }
        match member {
            Member::Code => self.code() == value,
            Member::Description => value
                .split_once(": ")
                .is_some_and(|(code, text)| self.code() == code && self.text("error_description") == text),
            Member::Reason => self.text("error_reason") == value,
            Member::Subcode => self.text("suberror") == value || self.text("error_subtype") == value,
            Member::Number => self.numbers().any(|number| number == value),
        }
    }

    /// Tells whether the answer describes the error in other words than these.
    pub(super) fn says_more_than(&self, words: &str) -> bool {
        let description = self.text("error_description");
        self.shape == Shape::Code && !description.is_empty() && !description.eq_ignore_ascii_case(words)
    }

    fn text(&self, name: &str) -> &str {
        self.members.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn numbers(&self) -> impl Iterator<Item = String> {
        let numbers = self.members.get("error_codes").and_then(Value::as_array);
        numbers.into_iter().flatten().filter_map(|number| Some(number.as_u64()?.to_string()))
    }

    /// Returns a member of any type.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// Collects the facts that the app needs for the step that the provider wants. The caller gives each name in
    /// `names`, because an answer may have members that are not for the browser, such as a token. If `with_reason` is
    /// set, the reason says which step it is.
    pub(super) fn challenge<'a>(&self, names: impl Iterator<Item = &'a str>, with_reason: bool) -> Value {
        let known = names.filter_map(|name| Some((name.to_owned(), self.members.get(name)?.clone())));
        let mut members: Map<String, Value> = known.collect();
        if with_reason {
            members.insert(String::from("reason"), Value::from(self.text("error_reason")));
        }
        let value = Value::Object(members);
        if value.to_string().len() <= MAX_CHALLENGE { value } else { Value::Object(Map::new()) }
    }

    /// Returns the answer in one line for the log: its codes and words, or else the kind of answer.
    pub(super) fn describe(&self, answer: &Answer, secrets: &[&str]) -> String {
        let mut line = format!("status {}", answer.status);
        let mut add = |name: &str, text: String| {
            if !text.is_empty() {
                line.push_str(", ");
                line.push_str(name);
                line.push_str(&text);
            }
        };
        if self.shape == Shape::Code {
            for name in ["error", "error_reason", "suberror", "error_subtype"] {
                add(&format!("{name} "), excerpt(self.text(name), secrets));
            }
            add("error_codes ", self.numbers().take(MAX_NUMBERS).collect::<Vec<_>>().join(" "));
            add("error_description ", excerpt(self.text("error_description"), secrets));
            return line;
        }
        add("", escaped(&answer.media_type));
        add("asks for authentication: ", escaped(answer.asks_for.as_deref().unwrap_or_default()));
        line.push_str(match self.shape {
            _ if answer.body.is_empty() => ", no body",
            Shape::Foreign => ", not the provider's own words",
            Shape::Code | Shape::Json | Shape::Bare => ", no `error` in it",
        });
        line
    }
}

/// Tells whether the answer announces no body, except perhaps an empty JSON, and does not ask for credentials.
fn announces_nothing(answer: &Answer) -> bool {
    let media_type = answer.media_type.as_str();
    (media_type.is_empty() || media_type == "application/json") && answer.asks_for.is_none()
}
