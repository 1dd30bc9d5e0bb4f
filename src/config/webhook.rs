//! `[apps.*.fusionauth_webhook]`: the one webhook of a provider that there is so far.

use jsonwebtoken::Algorithm;

use crate::config::identity_provider_settings::IdentityProvider;
use crate::config::reader::Section;
use crate::config::secret::{Secret, secret};
use crate::config::signatures::hmac_length;
use crate::config::values::path::endpoint_path;
use crate::config::values::word;

/// The webhook by which the provider tells an app of ended sessions: `[apps.NAME.fusionauth_webhook]`.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Exact path.
    pub path: String,
    /// `None`: a key of the provider's JWKS signs.
    pub hmac: Option<WebhookSecret>,
}

impl Webhook {
    /// The name of its table, and of its route in logs and metrics.
    pub const NAME: &str = "fusionauth_webhook";
    /// Its name for people.
    pub const TITLE: &str = "FusionAuth's webhook";
}

/// The HMAC key that signs a webhook.
#[derive(Debug, Clone)]
pub struct WebhookSecret {
    /// At least as long as the hash.
    pub secret: Secret,
    /// HS256, HS384 or HS512.
    pub algorithm: Algorithm,
}

/// Reads the table. The outer `None` is "wrong, and reported", the inner one "not wanted".
#[expect(clippy::option_option, reason = "said above")]
pub(super) fn webhook(section: &Section<'_>) -> Option<Option<Webhook>> {
    let path = section.optional("path", "no such endpoint", endpoint_path);
    let hmac_secret = section.optional("hmac_secret", "the provider's JWKS verifies", secret);
    let algorithm = section.defaulted("hmac_algorithm", "\"HS256\"", |item| {
        word(item, &[("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)])
    });
    let (path, hmac_secret, algorithm) = (path?, hmac_secret?, algorithm?);
    if path.is_none() && !section.is_empty() {
        return section.fault_at(
            "path",
            "this key is missing: without it there is no endpoint",
            "write the path that FusionAuth's webhook has, such as `\"/api/fusionauth-webhook\"`",
        );
    }
    if hmac_secret.is_none() && section.has("hmac_algorithm") {
        return section.fault_at(
            "hmac_algorithm",
            "HMAC needs a secret",
            "add `hmac_secret`, or remove this key if the webhook is signed with a key of the JWKS",
        );
    }
    let length = hmac_length(algorithm).unwrap_or_default();
    if hmac_secret.as_ref().is_some_and(|secret| secret.expose().len() < length) {
        return section.fault_at(
            "hmac_secret",
            format!("the secret has fewer than the {length} bytes of its hash (RFC 7518 section 3.2)"),
            "let FusionAuth generate a longer one",
        );
    }
    let hmac = hmac_secret.map(|secret| WebhookSecret { secret, algorithm });
    Some(path.map(|path| Webhook { path, hmac }))
}

/// Only FusionAuth sends these, and there is no unsigned mode: a published key signs, or a secret that is known here.
pub(super) fn check(app: &Section<'_>, webhook: &Webhook, provider: &IdentityProvider) {
    let _: Option<()> = if !provider.kind.sends_webhooks() {
        app.fault_at(
            Webhook::NAME,
            format!("`identity_providers.{}` is not FusionAuth", provider.name),
            "remove the table (see `backchannel_logout`), or write `kind = \"fusionauth\"` there",
        )
    } else if webhook.hmac.is_none() && provider.hmac_secret.is_some() {
        app.fault_at(
            Webhook::NAME,
            format!(
                "`identity_providers.{}` has an `hmac_secret`, so that no JWKS is fetched",
                provider.name
            ),
            "add `hmac_secret` to this table: that of the webhook's signing key",
        )
    } else {
        None
    };
}
