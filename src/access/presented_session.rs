//! The session that a request brings along, for those that need more of it than a decision: logins, logouts, open
//! streams.

use std::sync::Arc;

use http::HeaderMap;

use crate::access::app_rules::{AppRules, Knowledge};
use crate::access::assessment::lifetime;
use crate::access::cookies::Presented;
use crate::access::grant::Grant;
use crate::access::identity::Identity;
use crate::access::lifetime::Lifetime;
use crate::access::token;

/// The session that a request brings along to a login or a logout, whether or not it still lives.
#[derive(Debug)]
pub struct PresentedSession {
    /// The cookies that there were.
    pub presented: Presented,
    /// The refresh token, if its cookie can be read.
    pub grant: Option<Grant>,
    /// Whose JWT there was, if it is genuine.
    pub identity: Option<Arc<Identity>>,
}

impl PresentedSession {
    /// Reads a request's cookies.
    pub fn read(rules: &AppRules, headers: &HeaderMap, known: &Knowledge<'_>) -> Self {
        let cookies = rules.cookies.read(headers);
        let identity = cookies.access_token.as_deref().and_then(|access_token| {
            let verified = token::verify(access_token, &rules.token, known.keys, known.now).ok()?;
            // Whatever its time: one whose time has not come could be used later.
            Identity::new(verified.claims, &rules.identity).ok().map(Arc::new)
        });
        let grant = cookies.refresh_token.as_deref().and_then(|cookie| rules.session.open(cookie));
        Self { presented: cookies.presented, grant, identity }
    }
}

/// The session behind a request that was let through.
#[derive(Debug)]
pub struct SessionAtHand {
    /// The grant that it can be refreshed with, if there is one.
    pub grant: Option<Grant>,
    /// Its ends.
    pub lifetime: Lifetime,
}

impl SessionAtHand {
    /// Reads a request's cookies; `identity` is whose it was found to be.
    pub fn read(rules: &AppRules, headers: &HeaderMap, identity: &Identity, known: &Knowledge<'_>) -> Self {
        let cookies = rules.cookies.read(headers);
        let access_token = cookies.access_token.as_deref().unwrap_or_default();
        let lifetime = lifetime(rules, access_token, identity, &cookies, known);
        let grant = cookies.refresh_token.as_deref().and_then(|cookie| rules.session.open(cookie));
        Self { grant, lifetime }
    }
}
