//! A row of the table of codes: values of one member of an error answer that mean the same, at a login, at a refresh and at a
//! logout.

use crate::identity_provider::outcome::ChallengeKind;

/// The member of an error answer that a row's values stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    /// `error` (RFC 6749 section 5.2).
    Code,
    /// `error` and the whole `error_description`, as `CODE: DESCRIPTION`. Only where nothing else tells.
    Description,
    /// `error_reason`.
    Reason,
    /// Entra's `error_codes`, any of them.
    Number,
    /// Entra's `suberror`, Google's `error_subtype`.
    Subcode,
}

/// The meaning of a row where a password was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtLogin {
    /// It, the user name, or the account is not good; counted as a guess.
    WrongPassword,
    /// It was right, and another step is wanted.
    Step(ChallengeKind),
    /// This account, or this gateway, has asked too often.
    TooMany,
    /// The client, or what it may do, is set up wrongly here or there.
    Operator,
    /// Nothing about the user: it passes.
    Passing,
}

/// The meaning of a row where a refresh token was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtRefresh {
    /// It gives nothing any more: the session ends.
    Dead,
    /// It is good, and the user has to do something first.
    Step(ChallengeKind),
    /// As at a login; the session is kept.
    Operator,
    /// As at a login; the session is kept.
    Passing,
}

/// The meaning of a row where a refresh token was to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtLogout {
    /// There is nothing more to revoke.
    Done,
    /// It will not be revoked: asking again would change nothing.
    Refused,
    /// It may be later.
    Passing,
}

/// Values that mean the same.
#[derive(Debug)]
pub(super) struct Row {
    /// The member that has one of the values.
    pub(super) member: Member,
    /// The values, sorted.
    pub(super) values: &'static [&'static str],
    /// Only with these; empty: with all by which a provider speaks.
    pub(super) statuses: &'static [u16],
    /// The meaning at a login.
    pub(super) login: AtLogin,
    /// The meaning at a refresh.
    pub(super) refresh: AtRefresh,
    /// The meaning at a logout.
    pub(super) logout: AtLogout,
    /// Who is known to mean it so.
    pub(super) by: &'static str,
}

/// A row that says nothing about the user: it passes.
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
    /// The password was right, and the refresh token is: something else is wanted first.
    pub(super) const fn step(self, kind: ChallengeKind) -> Self {
        let Self { member, values, by, .. } = self;
        Self { login: AtLogin::Step(kind), refresh: AtRefresh::Step(kind), ..row(member, values, by) }
    }

    /// Nobody's fault but the operator's.
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

    /// A definite no to a password, and this to a refresh token.
    pub(super) const fn wrong(self, refresh: AtRefresh, logout: AtLogout) -> Self {
        let Self { member, values, by, statuses, .. } = self;
        Self { statuses, login: AtLogin::WrongPassword, refresh, logout, ..row(member, values, by) }
    }

    /// A dead refresh token.
    pub(super) const fn dead(self) -> Self {
        self.wrong(AtRefresh::Dead, AtLogout::Done)
    }

    /// This account, or this gateway, has asked too often; a refresh token is not meant.
    pub(super) const fn too_many(self) -> Self {
        let Self { member, values, by, .. } = self;
        Self { login: AtLogin::TooMany, ..row(member, values, by) }
    }

    /// Nothing more can be done at a logout.
    pub(super) const fn logout_is_done(self) -> Self {
        Self { logout: AtLogout::Done, ..self.operator() }
    }

    /// Says whether it counts with this status.
    pub(super) fn is_for(&self, status: u16) -> bool {
        self.statuses.is_empty() || self.statuses.contains(&status)
    }

    /// Only with these statuses.
    pub(super) const fn with(self, statuses: &'static [u16]) -> Self {
        let Self { member, values, by, .. } = self;
        Self { statuses, ..row(member, values, by) }
    }
}
