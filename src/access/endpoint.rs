//! The endpoints that the gateway serves itself. Each has one row: path, methods, callers, and the needs of an answer.
//!
//! A new endpoint gets its row here and its answer in `gateway/endpoints.rs`. Routes, the decision, logs, metrics and
//! `explain` follow from the row.

use std::sync::Arc;

use http::Method;

use crate::access::identity::Identity;
use crate::config;

/// An endpoint of the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Logs in.
    Login,
    /// Answers who is logged in.
    User,
    /// Logs out.
    Logout,
    /// Accepts OpenID Connect Back-Channel Logout.
    BackchannelLogout,
    /// Accepts the events of the provider's webhook.
    Webhook,
}

/// A request that an endpoint may answer, with the data that it needs.
#[derive(Debug)]
pub enum Call {
    /// A login.
    Login,
    /// A request for the user object of this user.
    User(Arc<Identity>),
    /// A logout.
    Logout,
    /// A back-channel logout, in which the provider ends sessions.
    BackchannelLogout,
    /// An event from the provider's webhook.
    Webhook,
}

/// The row of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct EndpointRules {
    /// Its name as a route, in logs and metrics.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The methods that it accepts.
    pub methods: Methods,
    /// Its callers.
    pub callers: Callers,
    /// The needs of a call.
    pub needs: Needs,
    /// Its answer depends on the request's body.
    pub reads_body: bool,
    /// Its answer to a successful call, for people.
    pub answer: &'static str,
}

/// The methods that an endpoint accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Methods {
    /// `GET` and `HEAD`.
    Get,
    /// `POST`.
    Post,
}

/// The callers of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Browsers. A `POST` must come from the app's own origin, or from an allowed one. Preflights go to the app.
    Browsers,
    /// Providers. A signature identifies the caller, so the origin does not matter.
    Providers,
}

/// The needs of a call, besides its request.
#[derive(Debug, Clone, Copy)]
pub enum Needs {
    /// Nothing.
    Nothing(fn() -> Call),
    /// A valid session.
    Session(fn(Arc<Identity>) -> Call),
}

impl Endpoint {
    /// All of them, in the order in which their paths are compared.
    pub const ALL: [Self; 5] =
        [Self::Login, Self::User, Self::Logout, Self::BackchannelLogout, Self::Webhook];

    /// Returns its row.
    pub const fn rules(self) -> EndpointRules {
        match self {
            Self::Login => EndpointRules {
                name: "login",
                title: "login",
                methods: Methods::Post,
                callers: Callers::Browsers,
                needs: Needs::Nothing(|| Call::Login),
                reads_body: true,
                answer: "200 with the user object, and both cookies",
            },
            Self::User => EndpointRules {
                name: "user",
                title: "user",
                methods: Methods::Get,
                callers: Callers::Browsers,
                needs: Needs::Session(Call::User),
                reads_body: false,
                answer: "200 with the user object",
            },
            Self::Logout => EndpointRules {
                name: "logout",
                title: "logout",
                methods: Methods::Post,
                callers: Callers::Browsers,
                needs: Needs::Nothing(|| Call::Logout),
                reads_body: false,
                answer: "204, and both cookies cleared",
            },
            Self::BackchannelLogout => EndpointRules {
                name: "backchannel_logout",
                title: "back-channel logout",
                methods: Methods::Post,
                callers: Callers::Providers,
                needs: Needs::Nothing(|| Call::BackchannelLogout),
                reads_body: true,
                answer: "200, for a logout token of the provider",
            },
            Self::Webhook => EndpointRules {
                name: config::Webhook::NAME,
                title: config::Webhook::TITLE,
                methods: Methods::Post,
                callers: Callers::Providers,
                needs: Needs::Nothing(|| Call::Webhook),
                reads_body: true,
                answer: "200, for a signed event",
            },
        }
    }

    /// Returns its path at an app. Returns `None` if the app does not have this endpoint.
    pub fn path(self, app: &config::App) -> Option<&str> {
        match self {
            Self::Login => Some(&app.login.path),
            Self::User => Some(&app.user.path),
            Self::Logout => Some(&app.logout.path),
            Self::BackchannelLogout => app.backchannel_logout.as_ref().map(|endpoint| &*endpoint.path),
            Self::Webhook => app.webhook.as_ref().map(|endpoint| &*endpoint.path),
        }
    }
}

impl Call {
    /// Returns the endpoint that answers the call.
    pub const fn endpoint(&self) -> Endpoint {
        match self {
            Self::Login => Endpoint::Login,
            Self::User(_) => Endpoint::User,
            Self::Logout => Endpoint::Logout,
            Self::BackchannelLogout => Endpoint::BackchannelLogout,
            Self::Webhook => Endpoint::Webhook,
        }
    }
}

impl Methods {
    /// Tells whether a method is one of them.
    pub fn include(self, method: &Method) -> bool {
        match self {
            Self::Get => matches!(*method, Method::GET | Method::HEAD),
            Self::Post => *method == Method::POST,
        }
    }

    /// Returns the method that an answer recommends to the client.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }

    /// Returns the value of `Allow` (RFC 9110 section 10.2.1).
    pub const fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::access::testing::{NOW, app_rules, claims, key_set, mint};
    use crate::access::token;

    #[test]
    fn each_row_leads_to_its_own_endpoint() {
        let rules = app_rules("");
        let verified = token::verify(&mint(&claims(&json!({}))), &rules.token, &key_set(), NOW).unwrap();
        let identity = Arc::new(Identity::new(verified.claims, &rules.identity).unwrap());
        for endpoint in Endpoint::ALL {
            let call = match endpoint.rules().needs {
                Needs::Nothing(call) => call(),
                Needs::Session(call) => call(Arc::clone(&identity)),
            };
            assert_eq!(call.endpoint(), endpoint);
        }
    }
}
