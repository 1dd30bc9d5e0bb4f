//! The way in which a logout reaches the provider: `logout` of `[identity_providers.*]`, and the key of its endpoint.

use url::Url;

use crate::config::identity_provider_settings::LogoutMethod;
use crate::config::provider_kind::ProviderKind;
use crate::config::reader::Section;
use crate::config::values::url::endpoint;
use crate::config::values::word;

/// The keys. A key that could not be read is `None`.
#[expect(clippy::option_option, reason = "the outer one is `wrong, and reported`, the inner one `left out`")]
pub(super) struct ReadLogout {
    pub(super) method: Option<LogoutMethod>,
    pub(super) revocation_endpoint: Option<Option<Url>>,
    pub(super) end_session_endpoint: Option<Option<Url>>,
}

impl ReadLogout {
    /// Returns the key of the endpoint to which logouts go.
    pub(super) fn endpoint_key(&self) -> &'static str {
        match self.method {
            Some(LogoutMethod::EndSession) => "end_session_endpoint",
            Some(LogoutMethod::Revocation) | None => "revocation_endpoint",
        }
    }
}

pub(super) fn provider_logout(section: &Section<'_>, kind: Option<ProviderKind>) -> ReadLogout {
    let method = section.defaulted("logout", "\"revocation\"", |item| {
        word(item, &[("revocation", LogoutMethod::Revocation), ("end_session", LogoutMethod::EndSession)])
    });
    let revocation_endpoint = section.optional("revocation_endpoint", "discovered from the issuer", endpoint);
    let end_session_endpoint =
        section.optional("end_session_endpoint", "discovered from the issuer", endpoint);
    let read = ReadLogout { method, revocation_endpoint, end_session_endpoint };
    check(section, kind, &read);
    read
}

fn check(section: &Section<'_>, kind: Option<ProviderKind>, read: &ReadLogout) {
    let own_logout = kind.and_then(ProviderKind::own_logout);
    let _: Option<()> = match (read.method, own_logout) {
        (Some(LogoutMethod::EndSession), Some(own)) => section.fault_at("logout", own, "remove this key"),
        (Some(LogoutMethod::EndSession), None) if section.has("revocation_endpoint") => section.fault_at(
            "revocation_endpoint",
            "with `logout = \"end_session\"` this endpoint is never used",
            "remove it, or write `logout = \"revocation\"`",
        ),
        (Some(LogoutMethod::Revocation), _) if section.has("end_session_endpoint") => section.fault_at(
            "end_session_endpoint",
            "without `logout = \"end_session\"` this endpoint is never used",
            "remove it, or write `logout = \"end_session\"`",
        ),
        _ => None,
    };
}
