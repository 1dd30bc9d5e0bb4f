//! What an app is not told of an identity although the JWT has it, for the log, `explain` and `doctor`.

use std::fmt;

use http::HeaderName;

/// Something of a claim that the app is not told. The text names no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    pub(super) claim: String,
    /// `None`: it is about our own reading of `roles_claim`.
    pub(super) header: Option<HeaderName>,
    pub(super) omitted: Omitted,
}

/// What is omitted, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Omitted {
    /// The whole header: part of a list would be taken for all of it.
    TooLarge { size: usize, max: usize },
    /// So many members of a list, each of which would read as several.
    Commas(usize),
    /// This, which is no text and no list of texts.
    Unreadable(&'static str),
}

impl Omission {
    /// What to do about it.
    pub const fn fix(&self) -> &'static str {
        match (&self.omitted, &self.header) {
            (Omitted::TooLarge { .. }, _) => {
                "raise `max_identity_header_size` if the app takes such headers, or let the provider write fewer members"
            }
            (Omitted::Commas(_), _) => {
                "rename them at the provider, or read the JWT with `forward_access_token`"
            }
            (Omitted::Unreadable(_), None) => {
                "correct `roles_claim`: it leads to a list of texts, or to a map whose keys are the roles"
            }
            (Omitted::Unreadable(_), Some(_)) => {
                "let the header name a claim inside, or take it out of `identity_headers`"
            }
        }
    }
}

impl fmt::Display for Omission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claim, header, omitted } = self;
        let place = header.as_ref().map_or("the roles", HeaderName::as_str);
        match omitted {
            Omitted::TooLarge { size, max } => write!(
                formatter,
                "header `{place}` is left out: claim `{claim}` has {size} bytes, and \
                 `max_identity_header_size` is {max}"
            ),
            Omitted::Commas(members) => write!(
                formatter,
                "header `{place}` is without {members} of the members of claim `{claim}`: they have a comma"
            ),
            Omitted::Unreadable(kind) if header.is_none() => write!(
                formatter,
                "`roles_claim`: claim `{claim}` is or has {kind}, in which no roles can be read"
            ),
            Omitted::Unreadable(kind) => {
                write!(formatter, "header `{place}`: claim `{claim}` is or has {kind}, which is no text")
            }
        }
    }
}
