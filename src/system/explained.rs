//! A failure in words, with what to do about it where that is known.

use std::fmt;

/// Words for a failure. `Display` joins both parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What has failed.
    pub text: String,
    /// What to do about it, where that is known better than by who asked.
    pub hint: Option<&'static str>,
}

impl Explained {
    /// The same failure, in a larger context that these words name.
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
