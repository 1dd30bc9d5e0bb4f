//! The body of an error answer (RFC 6749 section 5.2), with what several providers add to it. What a code means is in
//! `codes`; here is only what was said, and by what kind of body.

use serde_json::{Map, Value};

use crate::identity_provider::code_row::Member;
use crate::identity_provider::log_text::{escaped, excerpt};
use crate::identity_provider::provider_answer::Answer;
use crate::syntax::json;

/// The most that is passed on of a challenge, in bytes of JSON.
const MAX_CHALLENGE: usize = 8 * 1024;

/// Objects in objects in an error answer.
const MAX_DEPTH: usize = 32;

/// `error_codes` that are told in the log.
const MAX_NUMBERS: usize = 8;

/// The stuff that an answer without tokens is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A JSON object whose `error` is a text, as providers answer.
    Code,
    /// Other JSON.
    Json,
    /// No body, and nothing that announces one: some providers say no by the status alone.
    Bare,
    /// Whatever firewalls, proxies and load balancers answer: a page, a text, the question who we are.
    Foreign,
}

/// The part of an error answer that matters.
pub(super) struct ErrorAnswer {
    shape: Shape,
    members: Map<String, Value>,
}

impl ErrorAnswer {
    /// Reads whatever there is. Whether it is JSON is seen by itself: several providers send it as text or HTML. A text that
    /// is not UTF-8 is read all the same, since the codes are.
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

    /// Returns the stuff that it is made of.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// `error`, or nothing.
    pub(super) fn code(&self) -> &str {
        self.text("error")
    }

    /// Says whether this value stands in this member. The other members are looked at only beside an `error`.
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

    /// Says whether it describes what happened in other words than these.
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

    /// A member, whatever its type.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// Collects what the app needs to know for the step that the provider wants. `names` are chosen one by one: an answer may
    /// hold what is not for the browser, such as a token. `with_reason`: the reason says which step.
    pub(super) fn challenge<'a>(&self, names: impl Iterator<Item = &'a str>, with_reason: bool) -> Value {
        let known = names.filter_map(|name| Some((name.to_owned(), self.members.get(name)?.clone())));
        let mut members: Map<String, Value> = known.collect();
        if with_reason {
            members.insert(String::from("reason"), Value::from(self.text("error_reason")));
        }
        let value = Value::Object(members);
        if value.to_string().len() <= MAX_CHALLENGE { value } else { Value::Object(Map::new()) }
    }

    /// The answer in one line for the log: what was said, or else what kind of answer it is.
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

/// No body was announced but perhaps an empty JSON, and nobody asks who we are.
fn announces_nothing(answer: &Answer) -> bool {
    let media_type = answer.media_type.as_str();
    (media_type.is_empty() || media_type == "application/json") && answer.asks_for.is_none()
}
