//! The body of an error answer (RFC 6749 section 5.2), with what several providers add to it. What a code means is in
//! `codes`; here is only what was said, and by what kind of body.

use serde_json::{Map, Value};

use crate::identity_provider::codes::Member;
use crate::identity_provider::log_text::{escaped, excerpt};
use crate::identity_provider::provider_answer::Answer;
use crate::syntax::json;

/// The most that is passed on of a challenge, in bytes of JSON.
const MAX_CHALLENGE: usize = 8 * 1024;

/// Objects in objects in an error answer.
const MAX_DEPTH: usize = 32;

/// `error_codes` that are told in the log.
const MAX_NUMBERS: usize = 8;

/// What an answer without tokens is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object whose `error` is a text, as providers answer.
    Code,
    /// Other JSON.
    Json,
    /// No body, and nothing that announces one: some providers say no by the status alone.
    Bare,
    /// Whatever firewalls, proxies and load balancers answer: a page, a text, the question who we are.
    Foreign,
}

/// What matters of an error answer.
pub(super) struct ErrorAnswer {
    form: Form,
    members: Map<String, Value>,
}

impl ErrorAnswer {
    /// Reads whatever there is. Whether it is JSON is seen by itself: several providers send it as text or HTML. A text that
    /// is not UTF-8 is read all the same, since the codes are.
    pub(super) fn read(answer: &Answer) -> Self {
        let text = String::from_utf8_lossy(answer.json());
        let (form, members) = match json::parse(text.as_bytes(), MAX_DEPTH) {
            Ok(Value::Object(members)) if members.get("error").is_some_and(Value::is_string) => {
                (Form::Code, members)
            }
            Ok(Value::Object(members)) => (Form::Json, members),
            Ok(_) => (Form::Json, Map::new()),
            Err(_) if answer.body.is_empty() && announces_nothing(answer) => (Form::Bare, Map::new()),
            Err(_) => (Form::Foreign, Map::new()),
        };
        let form = if form == Form::Json && answer.asks_for.is_some() { Form::Foreign } else { form };
        Self { form, members }
    }

    /// What it is made of.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// `error`, or nothing.
    pub(super) fn code(&self) -> &str {
        self.text("error")
    }

    /// Whether this is said. The other members are looked at only beside an `error`.
    pub(super) fn says(&self, member: Member, value: &str) -> bool {
        if self.form != Form::Code {
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

    /// Whether it describes what happened in other words than these.
    pub(super) fn says_more_than(&self, words: &str) -> bool {
        let description = self.text("error_description");
        self.form == Form::Code && !description.is_empty() && !description.eq_ignore_ascii_case(words)
    }

    fn text(&self, name: &str) -> &str {
        self.members.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn numbers(&self) -> impl Iterator<Item = String> {
        let numbers = self.members.get("error_codes").and_then(Value::as_array);
        numbers.into_iter().flatten().filter_map(|number| Some(number.as_u64()?.to_string()))
    }

    /// Whether FusionAuth's own APIs find fault with this field of a request.
    pub(super) fn refuses_field(&self, field: &str) -> bool {
        let fields = self.members.get("fieldErrors").and_then(Value::as_object);
        fields.is_some_and(|fields| fields.contains_key(field))
    }

    /// What the app needs to know for the step that the provider wants. `with_reason`: the reason says which step.
    pub(super) fn challenge(&self, with_reason: bool) -> Value {
        let mut members = Map::new();
        // Chosen one by one: an answer may hold what is not for the browser, such as a token.
        for name in ["two_factor_id", "two_factor_methods", "change_password_id"] {
            if let Some(value) = self.members.get(name) {
                members.insert(name.to_owned(), value.clone());
            }
        }
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
        if self.form == Form::Code {
            for name in ["error", "error_reason", "suberror", "error_subtype"] {
                add(&format!("{name} "), excerpt(self.text(name), secrets));
            }
            add("error_codes ", self.numbers().take(MAX_NUMBERS).collect::<Vec<_>>().join(" "));
            add("error_description ", excerpt(self.text("error_description"), secrets));
            return line;
        }
        add("", escaped(&answer.media_type));
        add("asks for authentication: ", escaped(answer.asks_for.as_deref().unwrap_or_default()));
        line.push_str(match self.form {
            _ if answer.body.is_empty() => ", no body",
            Form::Foreign => ", not the provider's own words",
            Form::Code | Form::Json | Form::Bare => ", no `error` in it",
        });
        line
    }
}

/// No body was announced but perhaps an empty JSON, and nobody asks who we are.
fn announces_nothing(answer: &Answer) -> bool {
    let media_type = answer.media_type.as_str();
    (media_type.is_empty() || media_type == "application/json") && answer.asks_for.is_none()
}
