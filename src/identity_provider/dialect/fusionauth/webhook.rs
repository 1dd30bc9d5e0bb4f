//! FusionAuth's webhooks: the signature of an event, and whose sessions it ends.
//!
//! FusionAuth signs an event by a JWT in a header of its own, with the one claim `request_body_sha256`. The JWT has no
//! date and the event may be delivered twice: one that comes again says the same about the same sessions, which is
//! harmless.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::access::key_set::KeySet;
use crate::access::signed_token::{self, latest_issue, string};
use crate::access::token_error::TokenError;
use crate::config;
use crate::identity_provider::webhook::{Webhook, WebhookError, WebhookEvent};
use crate::syntax::json;

/// Objects in objects in an event: what an operator keeps in a user's `data` may be deep.
const MAX_DEPTH: usize = 64;

/// The header with the signature.
const SIGNATURE: &str = "x-fusionauth-signature-jwt";

/// The claim with the body's hash, in base64.
const HASH: &str = "request_body_sha256";

/// The rules for what one app takes from FusionAuth.
#[derive(Debug)]
pub(super) struct WebhookRules {
    algorithms: Vec<Algorithm>,
    /// The secret that signs, if it is none of the provider's published keys.
    secret: Option<KeySet>,
    /// FusionAuth's id of the app: it is the client id, too.
    application: String,
    /// Seconds: see [`TokenRules`](crate::access::token::TokenRules).
    leeway: u64,
}

impl Webhook for WebhookRules {
    /// Nothing of a body is read before its signature has been verified.
    fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        keys: &KeySet,
        now: u64,
    ) -> Result<WebhookEvent, WebhookError> {
        let mut signatures = headers.get_all(SIGNATURE).iter();
        let (Some(Ok(signature)), None) = (signatures.next().map(HeaderValue::to_str), signatures.next())
        else {
            return Err(WebhookError::Unsigned);
        };
        self.verify(signature, body, keys)?;
        self.read_event(body, now)
    }
}

impl WebhookRules {
    /// Prepares a webhook's setting for an app of this client, at this provider.
    pub(super) fn new(
        webhook: &config::Webhook,
        client_id: &str,
        provider: &config::IdentityProvider,
    ) -> Self {
        let (algorithms, secret) = match &webhook.hmac {
            Some(hmac) => {
                (vec![hmac.algorithm], Some(KeySet::from_hmac_secret(hmac.secret.expose().as_bytes())))
            }
            None => (provider.algorithms.clone(), None),
        };
        Self { algorithms, secret, application: client_id.to_owned(), leeway: provider.leeway.as_secs() }
    }

    /// Verifies the signature of a body. `keys` are the provider's; they do not matter where a secret is configured.
    fn verify(&self, signature: &str, body: &[u8], keys: &KeySet) -> Result<(), WebhookError> {
        let keys = self.secret.as_ref().unwrap_or(keys);
        let is_type = |kind: Option<&str>| kind.is_none_or(|kind| kind.eq_ignore_ascii_case("JWT"));
        let claims = signed_token::open(signature, &self.algorithms, is_type, keys).map_err(|error| {
            // A secret has no id: there is nothing to fetch for one that the header names.
            let is_final = error == TokenError::UnknownKey && self.secret.is_some();
            if is_final { TokenError::Signature } else { error }
        })?;
        if claims.get("sub").is_some() {
            // The provider's keys sign a user's tokens, too.
            return Err(TokenError::Type.into());
        }
        let signed = string(&claims, HASH)?.ok_or(TokenError::Claim(HASH))?;
        if signed != STANDARD.encode(digest(&SHA256, body)) {
            return Err(WebhookError::Body);
        }
        Ok(())
    }

    /// Reads an event whose signature has been verified.
    fn read_event(&self, body: &[u8], now: u64) -> Result<WebhookEvent, WebhookError> {
        let latest = latest_issue(now, self.leeway);
        let body = json::parse_object(body, MAX_DEPTH)
            .map_err(|_| WebhookError::Event("not a strict JSON object"))?;
        let event =
            body.get("event").and_then(Value::as_object).ok_or(WebhookError::Event("`event` is missing"))?;
        let kind = text(event, "type").ok_or(WebhookError::Event("`type` is missing"))?;
        match kind {
            "jwt.refresh-token.revoke" => self.read_revocation(event, latest),
            "user.deactivate" | "user.delete" | "user.delete.complete" => user(event, latest),
            _ => Ok(WebhookEvent::Nobody),
        }
    }

    /// One refresh token of a user, all of a user (perhaps for one application), or all of an application.
    fn read_revocation(&self, event: &Map<String, Value>, latest: u64) -> Result<WebhookEvent, WebhookError> {
        let application = text(event, "applicationId");
        if application.is_some_and(|id| !id.eq_ignore_ascii_case(&self.application)) {
            return Ok(WebhookEvent::Nobody);
        }
        let refresh_token = event.get("refreshToken").and_then(Value::as_object);
        if let Some(id) = refresh_token.and_then(|token| text(token, "id")) {
            return Ok(WebhookEvent::Session(id.to_owned()));
        }
        let names_user = event.contains_key("userId") || event.contains_key("user");
        if !names_user && application.is_some() { Ok(WebhookEvent::Everybody) } else { user(event, latest) }
    }
}

fn user(event: &Map<String, Value>, latest: u64) -> Result<WebhookEvent, WebhookError> {
    let inner = event.get("user").and_then(Value::as_object).and_then(|user| text(user, "id"));
    let subject = text(event, "userId").or(inner).ok_or(WebhookError::Event("no user is named"))?;
    let created = event.get("createInstant").and_then(Value::as_u64);
    let created = created.ok_or(WebhookError::Event("`createInstant` is missing"))?;
    Ok(WebhookEvent::User { subject: subject.to_owned(), issued_until: (created / 1000).min(latest) })
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
