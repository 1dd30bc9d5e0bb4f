//! Who a request comes from. Only verified claims make an [`Identity`], and only an identity makes identity headers.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::access::identity_rules::IdentityRules;
use crate::access::revocations::TokenMarks;
use crate::access::token::{TokenError, VerifiedClaims};
use crate::config::ClaimPath;

/// Bytes of one identity header; a longer claim is refused rather than cut.
const MAX_HEADER_VALUE: usize = 4 * 1024;

/// The verified identity of a request, prepared for one app.
#[derive(Debug)]
pub struct Identity {
    claims: VerifiedClaims,
    roles: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    is_used: AtomicBool,
}

impl Identity {
    /// Prepares verified claims for an app.
    pub fn new(claims: VerifiedClaims, settings: &IdentityRules) -> Result<Self, TokenError> {
        let roles = claims.claims().roles(&settings.roles_claim);
        let texts = settings.headers.iter().filter_map(|header| {
            let text = header_text(&claims, &roles, &header.claim)?;
            Some((header, text))
        });
        let texts: Vec<_> = texts.collect();
        // One piece of memory for all values: with thousands of sessions every other piece is a cache miss.
        let mut values = Bytes::from(texts.iter().map(|(_, text)| text.as_str()).collect::<String>());
        let mut headers = Vec::with_capacity(texts.len());
        for (header, text) in texts {
            let value = header_value(values.split_to(text.len()))
                .ok_or_else(|| TokenError::UnusableClaim(header.claim.to_string()))?;
            headers.push((header.name.clone(), value));
        }
        Ok(Self { claims, roles, headers, is_used: AtomicBool::new(false) })
    }

    /// `true` the first time this is asked, which is when a request has brought the token.
    pub(crate) fn is_first_use(&self) -> bool {
        // A load first: writing takes the memory away from the other cores.
        !self.is_used.load(Ordering::Relaxed) && !self.is_used.swap(true, Ordering::Relaxed)
    }

    /// `sub`.
    pub fn subject(&self) -> &str {
        self.claims.subject()
    }

    /// `exp`, in Unix seconds.
    pub fn expires_at(&self) -> u64 {
        self.claims.expires_at()
    }

    /// `iat`, in Unix seconds.
    pub fn issued_at(&self) -> Option<u64> {
        self.claims.issued_at()
    }

    /// When a session begins whose first token this is, in Unix seconds. As late as the provider says, whose clock may be
    /// ahead: it is compared with revocations like `iat`.
    pub fn session_start(&self, now: u64) -> u64 {
        self.issued_at().map_or(now, |issued_at| issued_at.max(now))
    }

    /// By what its token can be revoked.
    pub fn marks(&self) -> &TokenMarks {
        self.claims.marks()
    }

    /// The roles found by `roles_claim`.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Whether it has any of `roles`; an empty list asks for none.
    pub fn has_any_role(&self, roles: &[String]) -> bool {
        roles.is_empty() || roles.iter().any(|role| self.roles.contains(role))
    }

    /// The headers that the app receives.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Whether it expires within `ahead` seconds and three quarters of its lifetime are over. A token that does not
    /// say when it was issued is not refreshed early.
    pub fn is_about_to_expire(&self, ahead: u64, now: u64) -> bool {
        let expires_at = self.expires_at();
        let Some(issued_at) = self.claims.issued_at() else { return false };
        let lifetime = expires_at.saturating_sub(issued_at);
        let elapsed = now.saturating_sub(issued_at);
        expires_at.saturating_sub(now) <= ahead && elapsed.saturating_mul(4) >= lifetime.saturating_mul(3)
    }

    /// The user object: the configured claims, absent ones left out.
    pub fn user_object(&self, rules: &IdentityRules) -> Map<String, Value> {
        let entries = rules.user_claims.iter().filter_map(|path| {
            let value = match path {
                ClaimPath::Roles if self.roles.is_empty() => return None,
                ClaimPath::Roles => Value::from(self.roles.clone()),
                ClaimPath::Segments(segments) => self.claims.claims().at(segments)?.clone(),
            };
            Some((path.to_string(), value))
        });
        entries.collect()
    }
}

/// A claim as text; lists are joined with commas, objects and empty lists are left out.
fn header_text(claims: &VerifiedClaims, roles: &[String], path: &ClaimPath) -> Option<String> {
    match path {
        // A role with a comma in it would read as two.
        ClaimPath::Roles => {
            let roles: Vec<_> = roles.iter().filter(|role| !role.contains(',')).map(String::as_str).collect();
            (!roles.is_empty()).then(|| roles.join(","))
        }
        ClaimPath::Segments(segments) => match claims.claims().at(segments)? {
            Value::Array(values) => {
                let texts: Vec<_> = values.iter().filter_map(scalar_text).collect();
                (!texts.is_empty()).then(|| texts.join(","))
            }
            value => scalar_text(value),
        },
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// RFC 9110 section 5.5: no control characters; text beyond ASCII goes as UTF-8.
fn header_value(text: Bytes) -> Option<HeaderValue> {
    let acceptable = text.len() <= MAX_HEADER_VALUE && !text.iter().any(|&byte| byte < 0x20 || byte == 0x7f);
    acceptable.then(|| HeaderValue::from_maybe_shared(text).ok()).flatten()
}

#[cfg(test)]
mod tests;
