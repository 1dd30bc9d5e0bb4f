//! The checks of one identity provider: endpoints, issuer, keys, clock.

use url::Url;

use super::clock_skew::{NOISE, Skew};
use super::report::Report;
use crate::config::{self, LogoutMethod};
use crate::identity_provider::doctor_questions::{KeysFound, NoKeys, Probed};
use crate::identity_provider::{DiscoveryError, IdentityProvider};
use crate::system::clock::Clock;

/// Checks the provider. Returns true if the token endpoint is known, so that the provider's clients can be checked.
pub(super) async fn check(
    provider: &IdentityProvider,
    settings: &config::IdentityProvider,
    subject: &str,
    clock: &dyn Clock,
    report: &mut Report,
) -> bool {
    let discovered = provider.probe_discovery().await;
    let [token, logout, _] = provider.known_endpoints();
    match (&discovered, &token) {
        (Ok(()), Some(url)) => {
            report.ok(subject, format!("endpoints are known, the token endpoint is {url}"));
        }
        (Err(error), Some(_)) => {
            let fix = match settings.logout {
                _ if matches!(error, DiscoveryError::Proxy { .. }) => AT_PROXY,
                LogoutMethod::Revocation => "set `revocation_endpoint`, if the provider has one",
                LogoutMethod::EndSession => "set `end_session_endpoint`",
            };
            report.warning(subject, error.clone(), fix);
        }
        (Err(error), None) => report.error(subject, error.clone(), &discovery_fix(error)),
        (Ok(()), None) => report.error(subject, "no token endpoint", "set `token_endpoint`"),
    }
    if token.as_ref().is_some_and(|url| url.scheme() == "http") && settings.allow_insecure_http {
        report.warning(
            subject,
            "passwords travel over plain http",
            "use https and drop `allow_insecure_http`",
        );
    }
    if token.is_some() {
        check_logout(logout, settings.logout, subject, report);
    }
    if settings.hmac_secret.is_some() {
        report.ok(subject, "tokens are verified with `hmac_secret`, no JWKS is fetched");
        return token.is_some();
    }
    if token.is_some() {
        check_keys(provider.probe_keys().await, settings, subject, clock, report);
    }
    token.is_some()
}

fn check_logout(endpoint: Option<Url>, method: LogoutMethod, subject: &str, report: &mut Report) {
    match (method, endpoint) {
        (LogoutMethod::Revocation, Some(url)) => report.ok(subject, format!("logout revokes at {url}")),
        (LogoutMethod::Revocation, None) => report.warning(
            subject,
            "no revocation endpoint: a refresh token outlives its logout",
            "set `revocation_endpoint`, if the provider has one",
        ),
        (LogoutMethod::EndSession, Some(url)) => {
            report.ok(subject, format!("logout ends the provider's session at {url}"));
        }
        (LogoutMethod::EndSession, None) => report.error(
            subject,
            "no end_session_endpoint: a logout ends nothing at the provider",
            "set `end_session_endpoint`, or write `logout = \"revocation\"`",
        ),
    }
}

/// The advice if the proxy failed, so that the provider was not asked.
const AT_PROXY: &str =
    "start the proxy, or correct `proxy` and `proxy_credentials`; it must permit connections to the provider";

fn discovery_fix(error: &DiscoveryError) -> String {
    match error {
        DiscoveryError::Unreachable { .. } => {
            String::from("start the provider, or correct `issuer`; check DNS, firewall and certificates")
        }
        DiscoveryError::Proxy { .. } => String::from(AT_PROXY),
        DiscoveryError::NoMetadata { .. } => {
            String::from("correct `issuer`, or set `token_endpoint` and `jwks_uri` if there is no discovery")
        }
        DiscoveryError::Unclear { .. } => String::from(
            "look at what stands in front of the provider, or at `issuer`; or set `token_endpoint` and `jwks_uri`",
        ),
        DiscoveryError::OtherIssuer { found, .. } => format!("set `issuer = {found:?}`"),
        DiscoveryError::Endpoint(_) => {
            String::from("correct the provider's settings, or set the endpoint in the configuration")
        }
    }
}

/// The advice about a key that Portcullis does not use.
const MEND: &str = "replace the key at the provider by a sound one, with RSA of at least 2048 bits";

fn check_keys(
    probed: Result<Probed<KeysFound>, NoKeys>,
    settings: &config::IdentityProvider,
    subject: &str,
    clock: &dyn Clock,
    report: &mut Report,
) {
    let probed = match probed {
        Ok(probed) => probed,
        Err(problem) => {
            let (problem, fix) = match problem {
                NoKeys::OfProxy(problem) => (problem, AT_PROXY),
                NoKeys::OfProvider(problem) => (problem, "check the provider, or correct `jwks_uri`"),
            };
            report.error(subject, problem.after("JWKS: "), fix);
            return;
        }
    };
    let keys = probed.verdict;
    let offered = keys.offered.join(", ");
    if keys.problem.is_none() {
        for problem in &keys.faulty {
            report.warning(subject, format!("JWKS: left out, {problem}"), MEND);
        }
    }
    match keys.problem {
        Some(problem) if !keys.faulty.is_empty() => {
            report.error(subject, format!("JWKS: {problem}"), MEND);
        }
        None => report.ok(subject, format!("JWKS has {} usable key(s): {offered}", keys.usable)),
        Some(problem) if offered.is_empty() => report.error(
            subject,
            format!("JWKS: {problem}"),
            "let the provider sign with an asymmetric key, or set `hmac_secret`",
        ),
        Some(problem) => report.error(
            subject,
            format!("JWKS: {problem}, `algorithms` accepts {:?}", settings.algorithms),
            &format!("accept what the provider signs with in `algorithms` (its keys: {offered})"),
        ),
    }
    check_clock(probed.date.as_deref(), settings, subject, clock, report);
}

fn check_clock(
    date: Option<&str>,
    settings: &config::IdentityProvider,
    subject: &str,
    clock: &dyn Clock,
    report: &mut Report,
) {
    let fix = "synchronise both clocks (NTP); `leeway` tolerates a few seconds";
    match date.and_then(|date| Skew::of_date(date, clock.now())) {
        // Keycloak sends no `Date`.
        None => report.ok(
            subject,
            "clock: not compared, the provider sends no `Date`; `doctor --username NAME` goes by the `iat` of a JWT",
        ),
        Some(skew) if skew.exceeds(settings.leeway + NOISE) => {
            report.error(subject, format!("clock: {skew}, by its `Date`"), fix);
        }
        Some(skew) => report.ok(subject, format!("clock: agrees with the provider's: {skew}, by its `Date`")),
    }
}
