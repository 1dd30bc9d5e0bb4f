//! Facts in the JWT that an app does not receive. The log, `explain` and `doctor` report them.

use std::fmt;

use http::HeaderName;

/// A part of a claim that the app does not receive. The text contains no value of the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    pub(super) claim: String,
    /// The header. `None` if Portcullis itself cannot read roles in `roles_claim`.
    pub(super) header: Option<HeaderName>,
    pub(super) omitted: Omitted,
}

/// The omitted part, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Omitted {
    /// The whole header. An app would take a part of a list for the whole list.
    TooLarge { size: usize, max: usize },
    /// This number of members of a list. They contain commas, so each would read as several members.
    Commas(usize),
    /// A value of this type, which is neither a text nor a list of texts.
    Unreadable(&'static str),
}

impl Omission {
    /// Returns the remedy.
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
