//! A failure in words, with advice if that is known.

use std::fmt;

/// A failure in words. `Display` joins both parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The failure.
    pub text: String,
    /// The advice, if it is known here better than by the caller.
    pub hint: Option<&'static str>,
}

impl Explained {
    /// Puts these words, which name a larger context, before the text of the failure.
    #[must_use]
    pub fn after(self, words: &str) -> Self {
        Self { text: format!("{words}{}", self.text), ..self }
    }
}

impl From<String> for Explained {
    fn from(text: String) -> Self {
        Self { text, hint: None }
    }
}

impl From<&str> for Explained {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)?;
        match self.hint {
            Some(hint) => write!(formatter, "; {hint}"),
            None => Ok(()),
        }
    }
}
