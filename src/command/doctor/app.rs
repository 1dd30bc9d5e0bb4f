//! The checks of one app's client at its provider.

use super::report::Report;
use crate::config::{self, ClientAuthentication};
use crate::identity_provider::doctor_questions::{
    ClientVerdict, DialectFinding, PasswordGrantVerdict, Probed,
};
use crate::identity_provider::{Client, IdentityProvider};

/// The advice if the answer comes from a firewall or a proxy.
const IN_FRONT: &str = "let the gateway reach the provider itself: look at firewalls, proxies and load balancers in front of \
                        it, and at `token_endpoint`";

/// Checks the client. Returns true if the client can be used.
pub(super) async fn check(
    provider: &IdentityProvider,
    settings: &config::IdentityProvider,
    app: &config::App,
    subject: &str,
    report: &mut Report,
) -> bool {
    let client = Client::of(app);
    if !check_client(provider.probe_client(&client).await, settings, subject, report) {
        return false;
    }
    check_password_grant(provider.probe_password_grant(&client).await, settings, subject, report);
    for finding in provider.probe_dialect(&client).await {
        match finding {
            DialectFinding::Good(text) => report.ok(subject, text),
            DialectFinding::Bad { problem, fix } => report.error(subject, problem, fix),
        }
    }
    true
}

/// Reports the verdict on the client. Returns true if further checks make sense.
fn check_client(
    probed: Probed<ClientVerdict>,
    settings: &config::IdentityProvider,
    subject: &str,
    report: &mut Report,
) -> bool {
    let method = method_name(settings.client_auth);
    match probed.verdict {
        ClientVerdict::Accepted => {
            let form = probed.form;
            report.ok(
                subject,
                format!("the provider accepts the client (client_auth = {method:?}); a dead refresh token is {form}"),
            );
            true
        }
        ClientVerdict::Refused(text) => {
            let fix = format!(
                "compare `client_id` and `client_secret` with the provider's, and whether it wants another \
                 `client_auth` than {method:?}"
            );
            report.error(subject, format!("the provider refuses the client: {text}"), &fix);
            false
        }
        ClientVerdict::NoRefreshGrant(text) => {
            let message = format!("the client may not use the refresh grant: {text}");
            report.error(subject, message, "allow the grant `refresh_token` for this client at the provider");
            true
        }
        ClientVerdict::Unclear(text) => {
            report.warning(
                subject,
                format!("cannot tell whether the provider accepts the client: {text}"),
                "sign in once; if a right password is refused, check `client_secret` and `client_auth`",
            );
            true
        }
        ClientVerdict::NotTheProvider(text) => {
            report.error(subject, format!("something in front of the provider answers: {text}"), IN_FRONT);
            false
        }
        ClientVerdict::Unavailable(text) => {
            let message = text.after("the token endpoint cannot be used: ");
            report.error(
                subject,
                message,
                "start the provider, or correct `token_endpoint`; if it is only slow, look there why",
            );
            false
        }
    }
}

fn check_password_grant(
    probed: Probed<PasswordGrantVerdict>,
    settings: &config::IdentityProvider,
    subject: &str,
    report: &mut Report,
) {
    match probed.verdict {
        PasswordGrantVerdict::Allowed => {
            let form = probed.form;
            report.ok(subject, format!("the client may use the password grant; a wrong password is {form}"));
        }
        PasswordGrantVerdict::NotAllowed(text) => report.error(
            subject,
            format!("the client may not use the password grant: {text}"),
            "allow it for this client at the provider (Keycloak: \"Direct access grants\")",
        ),
        PasswordGrantVerdict::ScopeRefused(text) => report.error(
            subject,
            format!("the provider refuses the scope: {text}"),
            &format!("change `scope = {:?}`", settings.scope.as_deref().unwrap_or_default()),
        ),
        PasswordGrantVerdict::TargetRefused(text) => report.error(
            subject,
            format!("the provider refuses, or misses, what the token is to be for: {text}"),
            "correct `audience` or `resource` under `token_parameters`, as the provider documents it",
        ),
        PasswordGrantVerdict::AcceptsAnyone => report.error(
            subject,
            "the provider signed in a user that cannot exist",
            "do not use this provider for anything but a demonstration",
        ),
        PasswordGrantVerdict::Unclear(text) => report.warning(
            subject,
            format!("cannot tell whether the client may use the password grant: {text}"),
            "sign in once, with a wrong and with the right password: where a wrong one is 503 and not 401, its form is not \
             known here",
        ),
        PasswordGrantVerdict::NotTheProvider(text) => {
            report.error(subject, format!("something in front of the provider answers a login: {text}"), IN_FRONT);
        }
        PasswordGrantVerdict::Unavailable(text) => report.error(
            subject,
            text.after("the password grant cannot be tried: "),
            "try again when the provider is up",
        ),
    }
}

/// Returns the method's name in the configuration.
fn method_name(method: ClientAuthentication) -> &'static str {
    match method {
        ClientAuthentication::Basic => "basic",
        ClientAuthentication::BasicRaw => "basic_raw",
        ClientAuthentication::Post => "post",
        ClientAuthentication::None => "none",
    }
}
