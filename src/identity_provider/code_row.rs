//! A row of the table of codes: values of one member of an error answer that mean the same, at a login, at a refresh
//! and at a logout.

use crate::identity_provider::outcome::ChallengeKind;

/// The member of an error answer that has the values of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    /// `error` (RFC 6749 section 5.2).
    Code,
    /// `error` and the whole `error_description`, as `CODE: DESCRIPTION`. Used only if no other member tells the cases
    /// apart.
    Description,
    /// `error_reason`.
    Reason,
    /// Entra's `error_codes`, any of them.
    Number,
    /// Entra's `suberror`, Google's `error_subtype`.
    Subcode,
}

/// The meaning of a row at a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtLogin {
    /// The password, the user name or the account is not good. It counts as a guess.
    WrongPassword,
    /// The password was right, and the provider wants another step.
    Step(ChallengeKind),
    /// This account, or this gateway, has asked too often.
    TooMany,
    /// The client, or what it may do, is set up wrongly here or there.
    Operator,
    /// It says nothing about the user. The fault is a passing one.
    Passing,
}

/// The meaning of a row at a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtRefresh {
    /// The refresh token gives nothing any more: the session ends.
    Dead,
    /// The refresh token is good, but the user has to do something first.
    Step(ChallengeKind),
    /// The client, or what it may do, is set up wrongly. The session is kept.
    Operator,
    /// It says nothing about the user. The fault is a passing one, and the session is kept.
    Passing,
}

/// The meaning of a row at a logout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtLogout {
    /// There is nothing more to revoke.
    Done,
    /// The refresh token will not be revoked: another attempt would change nothing.
    Refused,
    /// A later attempt may succeed.
    Passing,
}

/// Values that mean the same.
#[derive(Debug)]
pub(super) struct Row {
    /// The member that has one of the values.
    pub(super) member: Member,
    /// The values, sorted.
    pub(super) values: &'static [&'static str],
    /// The statuses with which the row counts. If there are none, it counts with every status that a provider may use.
    pub(super) statuses: &'static [u16],
    /// The meaning at a login.
    pub(super) login: AtLogin,
    /// The meaning at a refresh.
    pub(super) refresh: AtRefresh,
    /// The meaning at a logout.
    pub(super) logout: AtLogout,
    /// The providers that are known to mean it so.
    pub(super) by: &'static str,
}

/// Makes a row that says nothing about the user. The fault is a passing one.
pub(super) const fn row(member: Member, values: &'static [&'static str], by: &'static str) -> Row {
    Row {
        member,
        values,
        statuses: &[],
        login: AtLogin::Passing,
        refresh: AtRefresh::Passing,
        logout: AtLogout::Passing,
        by,
    }
}

impl Row {
    /// The password was right, or the refresh token is good, but the provider wants another step first.
    pub(super) const fn step(self, kind: ChallengeKind) -> Self {
        let Self { member, values, by, .. } = self;
        Self { login: AtLogin::Step(kind), refresh: AtRefresh::Step(kind), ..row(member, values, by) }
    }

    /// Only the operator can correct this.
    pub(super) const fn operator(self) -> Self {
        let Self { member, values, by, statuses, .. } = self;
        Self {
            statuses,
            login: AtLogin::Operator,
            refresh: AtRefresh::Operator,
            logout: AtLogout::Refused,
            ..row(member, values, by)
        }
    }

    /// A definite "no" to a password. `refresh` and `logout` say what it means for a refresh token.
    pub(super) const fn wrong(self, refresh: AtRefresh, logout: AtLogout) -> Self {
        let Self { member, values, by, statuses, .. } = self;
        Self { statuses, login: AtLogin::WrongPassword, refresh, logout, ..row(member, values, by) }
    }

    /// A dead refresh token.
    pub(super) const fn dead(self) -> Self {
        self.wrong(AtRefresh::Dead, AtLogout::Done)
    }

    /// This account, or this gateway, has asked too often. This says nothing about a refresh token.
    pub(super) const fn too_many(self) -> Self {
        let Self { member, values, by, .. } = self;
        Self { login: AtLogin::TooMany, ..row(member, values, by) }
    }

    /// Nothing more can be done at a logout.
    pub(super) const fn logout_is_done(self) -> Self {
        Self { logout: AtLogout::Done, ..self.operator() }
    }

    /// Tells whether the row counts with this status.
    pub(super) fn is_for(&self, status: u16) -> bool {
        self.statuses.is_empty() || self.statuses.contains(&status)
    }

    /// The row counts only with these statuses.
    pub(super) const fn with(self, statuses: &'static [u16]) -> Self {
        let Self { member, values, by, .. } = self;
        Self { statuses, ..row(member, values, by) }
    }
}
