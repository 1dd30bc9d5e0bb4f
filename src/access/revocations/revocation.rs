//! The extent of a revocation, and its cause.

use crate::answer::reason::ReasonCode;

/// The cause of a session's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndedBy {
    /// Its user, its provider, an operator, or the end of its lifetime. The browser's cookies must be cleared.
    Revocation,
    /// Another login in the same browser, which replaced it. The browser may have the new cookies by now.
    AnotherLogin,
}

impl EndedBy {
    /// Returns the stable code.
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::Revocation => ReasonCode::Revoked,
            Self::AnotherLogin => ReasonCode::Replaced,
        }
    }

    /// Returns the cause that counts if a session was ended twice. The later end may not know of another login.
    #[must_use]
    pub fn or_before(self, before: Option<Self>) -> Self {
        before.map_or(self, |before| self.max(before))
    }
}

/// The extent of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The whole session. Its refresh token gives no further JWT.
    Session(EndedBy),
    /// This JWT alone.
    Token,
}
