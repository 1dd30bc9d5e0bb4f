//! The identity of a request's user. An [`Identity`] is only made from verified claims, and identity headers are only
//! made from an identity.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::access::claims::{Members, scalar_text};
use crate::access::identity_rules::IdentityRules;
use crate::access::omission::{Omission, Omitted};
use crate::access::revocations::TokenMarks;
use crate::access::token::VerifiedClaims;
use crate::access::token_error::{ClaimFault, TokenError};
use crate::config::ClaimPath;
use crate::syntax::redacted::Redacted;

/// The verified identity of a request, prepared for one app.
#[derive(Debug)]
pub struct Identity {
    claims: VerifiedClaims,
    roles: Vec<String>,
    headers: Redacted<Vec<(HeaderName, HeaderValue)>>,
    omissions: Box<[Omission]>,
    is_used: AtomicBool,
}

impl Identity {
    /// Prepares verified claims for an app.
    pub fn new(claims: VerifiedClaims, settings: &IdentityRules) -> Result<Self, TokenError> {
        let roles = claims.claims().roles(&settings.roles_claim);
        let mut omissions = Vec::new();
        if let Some(kind) = claims.claims().unreadable_roles(&settings.roles_claim) {
            let claim = settings.roles_claim.to_string();
            omissions.push(Omission { claim, header: None, omitted: Omitted::Unreadable(kind) });
        }
        let mut texts = Vec::with_capacity(settings.headers.len());
        for header in &settings.headers {
            let (text, omitted) = header_text(&claims, &roles, &header.claim);
            let size = text.as_ref().map_or(0, String::len);
            let too_large = (size > settings.max_header_size)
                .then_some(Omitted::TooLarge { size, max: settings.max_header_size });
            let text = text.filter(|_| too_large.is_none());
            if let Some(omitted) = too_large.or(omitted) {
                let (claim, name) = (header.claim.to_string(), header.name.clone());
                omissions.push(Omission { claim, header: Some(name), omitted });
            }
            texts.extend(text.map(|text| (header, text)));
        }
        // All values share one piece of memory. With thousands of sessions, every further piece is a cache miss.
        let mut values = Bytes::from(texts.iter().map(|(_, text)| text.as_str()).collect::<String>());
        let mut headers = Vec::with_capacity(texts.len());
        for (header, text) in texts {
            let value = header_value(values.split_to(text.len()))
                .map_err(|fault| TokenError::UnusableClaim(header.claim.to_string(), fault))?;
            headers.push((header.name.clone(), value));
        }
        let omissions = omissions.into_boxed_slice();
        Ok(Self { claims, roles, headers: headers.into(), omissions, is_used: AtomicBool::new(false) })
    }

    /// Returns `true` on the first call. It is called when a request has brought the token.
    pub(crate) fn is_first_use(&self) -> bool {
        // The load comes first, because a write takes the cache line away from the other cores.
        !self.is_used.load(Ordering::Relaxed) && !self.is_used.swap(true, Ordering::Relaxed)
    }

    /// Returns `sub`.
    pub fn subject(&self) -> &str {
        self.claims.subject()
    }

    /// Returns `exp`, in Unix seconds.
    pub fn expires_at(&self) -> u64 {
        self.claims.expires_at()
    }

    /// Returns `iat`, in Unix seconds.
    pub fn issued_at(&self) -> Option<u64> {
        self.claims.issued_at()
    }

    /// Returns the start of a session whose first token this is, in Unix seconds. It is not earlier than `iat`, even if
    /// the provider's clock is ahead, because it is compared with revocations like `iat`.
    pub fn session_start(&self, now: u64) -> u64 {
        self.issued_at().map_or(now, |issued_at| issued_at.max(now))
    }

    /// Returns the marks by which its token can be revoked.
    pub fn marks(&self) -> &TokenMarks {
        self.claims.marks()
    }

    /// Returns the roles that `roles_claim` leads to.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Tells whether the identity has any of `roles`. An empty list requires no role.
    pub fn has_any_role(&self, roles: &[String]) -> bool {
        roles.is_empty() || roles.iter().any(|role| self.roles.contains(role))
    }

    /// Returns the headers that the app receives.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Returns the facts in the JWT that the app does not receive.
    pub fn omissions(&self) -> &[Omission] {
        &self.omissions
    }

    /// Tells whether the token expires within `ahead` seconds, and three quarters of its lifetime are over. A token
    /// without `iat` is not refreshed early.
    pub fn is_about_to_expire(&self, ahead: u64, now: u64) -> bool {
        let expires_at = self.expires_at();
        let Some(issued_at) = self.claims.issued_at() else { return false };
        let lifetime = expires_at.saturating_sub(issued_at);
        let elapsed = now.saturating_sub(issued_at);
        expires_at.saturating_sub(now) <= ahead && elapsed.saturating_mul(4) >= lifetime.saturating_mul(3)
    }

    /// Returns the number of seconds until [`Self::is_about_to_expire`] holds.
    pub fn stays_fresh_for(&self, ahead: u64, now: u64) -> u64 {
        let left = self.expires_at().saturating_sub(now);
        let Some(issued_at) = self.claims.issued_at() else { return left };
        let lifetime = self.expires_at().saturating_sub(issued_at);
        let three_quarters = lifetime.saturating_mul(3).div_ceil(4);
        left.saturating_sub(ahead).max((issued_at + three_quarters).saturating_sub(now)).min(left)
    }

    /// Returns the user object. It has the configured claims, without absent ones.
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

/// Returns a claim as the text of a header, and the part that the header leaves out. Absent claims and empty lists give
/// no text.
fn header_text(
    claims: &VerifiedClaims,
    roles: &[String],
    path: &ClaimPath,
) -> (Option<String>, Option<Omitted>) {
    let joined = |members: &[String]| {
        // A member with a comma would read as two members.
        let fit: Vec<_> = members.iter().filter(|member| !member.contains(',')).map(String::as_str).collect();
        let omitted = members.len() - fit.len();
        ((!fit.is_empty()).then(|| fit.join(",")), (omitted > 0).then_some(Omitted::Commas(omitted)))
    };
    match path {
        ClaimPath::Roles => joined(roles),
        ClaimPath::Segments(segments) => match claims.claims().at(segments) {
            None => (None, None),
            Some(value) => match Members::of(value) {
                None => (scalar_text(value), None),
                Some(Members { texts, unreadable }) => {
                    let (text, commas) = joined(&texts);
                    (text, commas.or(unreadable.map(Omitted::Unreadable)))
                }
            },
        },
    }
}

/// Makes a header value from a text (RFC 9110 section 5.5). The text must have no control characters. It must not begin
/// or end with a blank, because recipients remove such blanks. Text beyond ASCII is sent as UTF-8.
fn header_value(text: Bytes) -> Result<HeaderValue, ClaimFault> {
    if text.iter().any(|&byte| byte < 0x20 || byte == 0x7f) {
        return Err(ClaimFault::ControlCharacter);
    }
    if text.first() == Some(&b' ') || text.last() == Some(&b' ') {
        return Err(ClaimFault::Blank);
    }
    HeaderValue::from_maybe_shared(text).map_err(|_| ClaimFault::ControlCharacter)
}

#[cfg(test)]
mod tests;
