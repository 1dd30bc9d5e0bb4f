//! The extent of a revocation, and its cause.

use crate::answer::reason::ReasonCode;

/// Who or what has ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndedBy {
    /// Its user, its provider, an operator, or the end of its lifetime: the browser is to lose its cookies.
    Revocation,
    /// Another login in the same browser, which took its place: the browser's cookies may be the new ones by now.
    AnotherLogin,
}

impl EndedBy {
    /// The stable code.
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::Revocation => ReasonCode::Revoked,
            Self::AnotherLogin => ReasonCode::Replaced,
        }
    }

    /// The cause that counts where a session was ended twice. One who ends it later does not know of another login.
    #[must_use]
    pub fn or_before(self, before: Option<Self>) -> Self {
        before.map_or(self, |before| self.max(before))
    }
}

/// The extent of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The whole session: its refresh token gives no further JWT.
    Session(EndedBy),
    /// This JWT alone.
    Token,
}
