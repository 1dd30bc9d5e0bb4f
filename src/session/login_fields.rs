//! Finds the user name and the password among the fields of a login's body. Words the answer if they are missing.
//!
//! Other fields of a body do not matter, and may come more than once, because they are not used. The answer lists
//! their names, if they look like names. No name is logged, because it may be a piece of a password that was not
//! encoded.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::config;

/// The largest number of names that the answer lists, and their largest length.
const MAX_NAMES: usize = 12;
const MAX_NAME_LENGTH: usize = 40;

/// The largest size of a user name or password, in bytes.
const MAX_FIELD_LENGTH: usize = 4 * 1024;

/// The value of a field, or its flaw.
pub(super) type Value = Result<Zeroizing<String>, Flaw>;

/// The reason why a body has no usable user name and password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The body is not a JSON object.
    Json,
    /// The body is not a form.
    Form,
    /// The body was sent as a form, but looks like a JSON object.
    JsonAsForm,
    /// The body is not `multipart/form-data`.
    Multipart,
    /// The user name or the password comes twice.
    Twice,
    /// The user name or the password is missing or empty.
    Missing,
    /// The user name or the password is not a string.
    NoText,
    /// The user name or the password is a file.
    File,
    /// The user name or the password is not plain text.
    Encoded,
    /// The user name or the password is too long, or has a NUL.
    Unacceptable,
}

impl Flaw {
    const fn text(self) -> &'static str {
        match self {
            Self::Json => "The body is not a JSON object that can be accepted.",
            Self::Form => "The body is not a form that can be accepted.",
            Self::JsonAsForm => "The body looks like JSON: send it as `application/json`.",
            Self::Multipart => "The body is not `multipart/form-data` that can be accepted.",
            Self::Twice => "User name or password comes twice.",
            Self::Missing => "A user name and a password are needed.",
            Self::NoText => "User name and password must be strings.",
            Self::File => "User name and password must be text, not files.",
            Self::Encoded => "User name and password must be plain text in UTF-8.",
            Self::Unacceptable => "A field has a value that cannot be accepted.",
        }
    }
}

/// The fields of one body.
pub(super) struct Fields<'a> {
    login: &'a config::Login,
    username: Option<Value>,
    password: Option<Value>,
    /// The names of the received fields that the answer lists.
    names: Vec<String>,
    others: usize,
    is_twice: bool,
    /// The flaw of a body without user name or password.
    pub(super) without_these: Flaw,
}

impl<'a> Fields<'a> {
    pub(super) fn new(login: &'a config::Login) -> Self {
        let (names, without_these) = (Vec::new(), Flaw::Missing);
        Self { login, username: None, password: None, names, others: 0, is_twice: false, without_these }
    }

    /// Adds a field. `has_value` says whether it had both a name and a value.
    pub(super) fn add(&mut self, name: &str, has_value: bool, value: impl FnOnce() -> Value) {
        self.remember(name, has_value);
        let wanted = if name == self.login.username_field {
            &mut self.username
        } else if name == self.login.password_field {
            &mut self.password
        } else {
            return;
        };
        self.is_twice |= wanted.replace(value()).is_some();
    }

    fn remember(&mut self, name: &str, has_value: bool) {
        if self.names.iter().any(|known| known == name) {
            return;
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:[]$".contains(&byte);
        let is_name = (1..=MAX_NAME_LENGTH).contains(&name.len()) && name.bytes().all(is_plain);
        if is_name && has_value && self.names.len() < MAX_NAMES {
            self.names.push(name.to_owned());
        } else {
            self.others += 1;
        }
    }

    /// Returns the user name and the password.
    pub(super) fn finish(mut self) -> Result<(Zeroizing<String>, Zeroizing<String>), Problem> {
        if self.is_twice {
            return Err(self.refuse(Flaw::Twice));
        }
        let username = self.username.take().unwrap_or(Err(self.without_these)).and_then(checked);
        let password = self.password.take().unwrap_or(Err(self.without_these)).and_then(checked);
        match (username, password) {
            (Ok(username), Ok(password)) => Ok((username, password)),
            (Err(flaw), _) | (_, Err(flaw)) => Err(self.refuse(flaw)),
        }
    }

    fn refuse(&self, flaw: Flaw) -> Problem {
        let quoted: Vec<_> = self.names.iter().map(|name| format!("`{name}`")).collect();
        let came = match (quoted.as_slice(), self.others) {
            ([], 0) => String::from("none"),
            ([], others) => format!("{others} with other names"),
            (names, 0) => names.join(", "),
            (names, others) => format!("{}, and {others} more", names.join(", ")),
        };
        let mut problem = refuse(flaw, self.login);
        let _ = write!(problem.detail.to_mut(), " Received: {came}.");
        problem
    }
}

fn checked(value: Zeroizing<String>) -> Value {
    match &value {
        value if value.is_empty() => Err(Flaw::Missing),
        value if value.len() > MAX_FIELD_LENGTH || value.contains('\0') => Err(Flaw::Unacceptable),
        _ => Ok(value),
    }
}

/// Refuses a body whose fields are not known.
pub(super) fn refuse(flaw: Flaw, login: &config::Login) -> Problem {
    let detail = format!(
        "{} Expected fields: `{}` and `{}`.",
        flaw.text(),
        login.username_field,
        login.password_field
    );
    Problem::new(Code::BadRequest, detail).because(ReasonCode::LoginBody)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(names: &[(&str, bool)]) -> String {
        let login = config::Login {
            path: "/api/login".into(),
            username_field: "mail".into(),
            password_field: "pass".into(),
        };
        let mut fields = Fields::new(&login);
        for (name, has_value) in names {
            fields.add(name, *has_value, || Ok(Zeroizing::new(String::from("canary"))));
        }
        fields.finish().map_or_else(|problem| problem.detail.into_owned(), |_| String::from("taken"))
    }

    #[test]
    fn what_is_told_of_what_came() {
        const NEEDED: &str =
            "A user name and a password are needed. Expected fields: `mail` and `pass`. Received:";
        let long = "x".repeat(41);
        for (names, received) in [
            (&[][..], "none."),
            (&[("user", true)], "`user`."),
            (&[("user", true), ("mail", true), ("user", true)], "`user`, `mail`."),
            (&[("form:user[name].x-y_$", true)], "`form:user[name].x-y_$`."),
            (&[("hunter2", false)], "1 with other names."),
            (
                &[("mail", true), ("hunter2", false), ("a b", true), ("`", true), ("", true)],
                "`mail`, and 4 more.",
            ),
            (&[("mail", true), (&long, true)], "`mail`, and 1 more."),
        ] {
            assert_eq!(detail(names), format!("{NEEDED} {received}"));
        }
        assert_eq!(detail(&[("mail", true), ("x", true), ("x", true), ("pass", true)]), "taken");
        assert!(detail(&[("mail", true), ("pass", true), ("mail", true)]).contains("twice"));
        let names: Vec<_> = (0..100).map(|number| format!("field{number}{}", "x".repeat(30))).collect();
        let many = detail(&names.iter().map(|name| (name.as_str(), true)).collect::<Vec<_>>());
        assert!(many.ends_with(", and 88 more.") && many.len() < 1024, "{many}");
    }
}
