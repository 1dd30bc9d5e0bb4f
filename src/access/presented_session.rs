//! Reads the session of a request. Logins, logouts and open streams need more of it than the decision does.

use std::sync::Arc;

use http::HeaderMap;

use crate::access::app_rules::{AppRules, Knowledge};
use crate::access::assessment::lifetime;
use crate::access::cookies::Presented;
use crate::access::grant::Grant;
use crate::access::identity::Identity;
use crate::access::lifetime::Lifetime;
use crate::access::token;

/// The session that a login or logout request brings. It may have ended already.
#[derive(Debug)]
pub struct PresentedSession {
    /// The session cookies of the request.
    pub presented: Presented,
    /// The refresh token, if its cookie can be read.
    pub grant: Option<Grant>,
    /// The identity in the JWT, if the JWT is genuine.
    pub identity: Option<Arc<Identity>>,
}

impl PresentedSession {
    /// Reads a request's cookies.
    pub fn read(rules: &AppRules, headers: &HeaderMap, known: &Knowledge<'_>) -> Self {
        let cookies = rules.cookies.read(headers);
        let identity = cookies.access_token.as_deref().and_then(|access_token| {
            let verified = token::verify(access_token, &rules.token, known.keys, known.now).ok()?;
            // The dates do not matter. A JWT that is not valid yet could be used later.
            Identity::new(verified.claims, &rules.identity).ok().map(Arc::new)
        });
        let grant = cookies.refresh_token.as_deref().and_then(|cookie| rules.session.open(cookie));
        Self { presented: cookies.presented, grant, identity }
    }
}

/// The session of a request that was let through.
#[derive(Debug)]
pub struct SessionAtHand {
    /// The grant that it can be refreshed with, if there is one.
    pub grant: Option<Grant>,
    /// The times at which it ends.
    pub lifetime: Lifetime,
}

impl SessionAtHand {
    /// Reads a request's cookies. `identity` is the identity of the request.
    pub fn read(rules: &AppRules, headers: &HeaderMap, identity: &Identity, known: &Knowledge<'_>) -> Self {
        let cookies = rules.cookies.read(headers);
        let access_token = cookies.access_token.as_deref().unwrap_or_default();
        let lifetime = lifetime(rules, access_token, identity, &cookies, known);
        let grant = cookies.refresh_token.as_deref().and_then(|cookie| rules.session.open(cookie));
        Self { grant, lifetime }
    }
}
