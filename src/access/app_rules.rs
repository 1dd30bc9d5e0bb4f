//! The basis of a decision: the rules of an app, prepared from its configuration, and the state at the time of the
//! request.

use http::StatusCode;

use crate::access::cookies::CookieNames;
use crate::access::grant::SessionRules;
use crate::access::identity_rules::IdentityRules;
use crate::access::key_set::KeySet;
use crate::access::numbers::{AppNumber, ClientNumber, ProviderNumber};
use crate::access::reserved_headers::ReservedHeaders;
use crate::access::routes::Routes;
use crate::access::session_tables::SessionTables;
use crate::access::token::TokenRules;
use crate::config;

/// The rules of one app, prepared from its configuration.
#[derive(Debug)]
pub struct AppRules {
    /// The app's number. Another app never gets it, even if the configuration changes.
    pub app_number: AppNumber,
    /// The number of its client at its issuer. It identifies the app's refresh tokens. Two apps may share it.
    pub client_number: ClientNumber,
    /// The number of these rules. No other rules have it, neither of this app nor of another.
    pub generation: u64,
    /// Its paths.
    pub routes: Routes,
    /// Its cookies' names.
    pub cookies: CookieNames,
    /// The rules for its tokens.
    pub token: TokenRules,
    /// The rules for its sessions.
    pub session: SessionRules,
    /// The rules for the identity headers and the user object.
    pub identity: IdentityRules,
    /// Headers that only Portcullis may send to it.
    pub reserved_headers: ReservedHeaders,
    /// Allowed origins, in addition to its own.
    pub allowed_origins: Vec<String>,
    /// The status that the user path answers without a session.
    pub anonymous_status: StatusCode,
}

/// The state at the time of a request.
#[derive(Debug, Clone, Copy)]
pub struct Knowledge<'a> {
    /// The provider's keys.
    pub keys: &'a KeySet,
    /// The number of the keys' state. It changes when the keys change.
    pub key_generation: u64,
    /// The tables that remember earlier requests.
    pub memory: &'a SessionTables,
    /// The current time in Unix seconds.
    pub now: u64,
    /// `refresh.ahead`, in seconds.
    pub refresh_ahead: u64,
    /// The keys have just been fetched for this request. An unknown key id is final then.
    pub keys_are_fresh: bool,
}

impl AppRules {
    /// Prepares an app's configuration for decisions.
    pub fn new(app: &config::App, provider: &config::IdentityProvider, session: &config::Session) -> Self {
        let provider_number = ProviderNumber::of_issuer(&provider.issuer);
        Self {
            app_number: AppNumber::of(app, provider),
            client_number: ClientNumber::of(app, provider),
            generation: 0,
            routes: Routes::new(app),
            cookies: CookieNames {
                access_token: app.cookies.access_token.clone(),
                refresh_token: app.cookies.refresh_token.clone(),
            },
            session: SessionRules::new(app, session, provider_number),
            token: TokenRules {
                provider: provider_number,
                issuer: provider.issuer.clone(),
                client_id: app.client_id.clone(),
                audience: app.audience.clone(),
                authorized_parties: app.authorized_parties.clone(),
                algorithms: provider.algorithms.clone(),
                leeway: provider.leeway.as_secs(),
                access_token_is_id_token: provider.access_token_is_id_token,
            },
            identity: IdentityRules {
                roles_claim: app.roles_claim.clone(),
                headers: app.identity_headers.iter().map(Into::into).collect(),
                max_header_size: app.max_identity_header_size,
                user_claims: app.user.claims.clone(),
            },
            reserved_headers: ReservedHeaders::new(app.identity_headers.iter().map(|header| &header.name)),
            allowed_origins: app.allowed_origins.clone(),
            anonymous_status: StatusCode::from_u16(app.user.anonymous_status)
                .unwrap_or(StatusCode::NOT_FOUND),
        }
    }

    /// Returns the same rules with this generation number.
    #[must_use]
    pub fn of_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }
}
