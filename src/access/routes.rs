//! Which part of an app a request is for, and who may pass there.

use std::borrow::Cow;

use crate::access::route_index::RouteIndex;
use crate::config::{self, Access, RoutePath};
use crate::syntax::path;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination<'a> {
    /// The login path.
    Login,
    /// The user path.
    User,
    /// The logout path.
    Logout,
    /// The path of OpenID Connect Back-Channel Logout.
    BackchannelLogout,
    /// The path of FusionAuth's webhook.
    FusionAuthWebhook,
    /// The app.
    App(Rule<'a>),
}

/// The rule of the first route that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Who may pass.
    pub access: Access,
    /// Any of these; empty: no role is asked for.
    pub roles: &'a [String],
    /// The route's place in the file, from 0; `None` where no route matched.
    pub index: Option<usize>,
}

/// An app's paths.
#[derive(Debug)]
pub struct Routes {
    login: Vec<u8>,
    user: Vec<u8>,
    logout: Vec<u8>,
    backchannel_logout: Option<Vec<u8>>,
    fusionauth_webhook: Option<Vec<u8>>,
    rules: Vec<Route>,
    index: RouteIndex,
}

#[derive(Debug)]
struct Route {
    pattern: Pattern,
    access: Access,
    roles: Vec<String>,
}

#[derive(Debug)]
enum Pattern {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
}

impl Routes {
    /// The routes of an app.
    pub fn new(app: &config::App) -> Self {
        let rules = app.routes.iter().map(|route| Route {
            pattern: match &route.path {
                RoutePath::Exact(path) => Pattern::Exact(decoded(path)),
                RoutePath::Prefix(path) => Pattern::Prefix(decoded(path)),
            },
            access: route.access,
            roles: route.roles.clone(),
        });
        let rules: Vec<_> = rules.collect();
        Self {
            login: app.login.path.clone().into_bytes(),
            user: app.user.path.clone().into_bytes(),
            logout: app.logout.path.clone().into_bytes(),
            backchannel_logout: app
                .backchannel_logout
                .as_ref()
                .map(|endpoint| endpoint.path.clone().into_bytes()),
            fusionauth_webhook: app
                .fusionauth_webhook
                .as_ref()
                .map(|endpoint| endpoint.path.clone().into_bytes()),
            index: RouteIndex::new(rules.iter().map(Route::path)),
            rules,
        }
    }

    /// Finds a request's destination. `raw` is the path as it will be forwarded, `decoded` the same, decoded.
    pub fn resolve(&self, raw: &[u8], decoded: &[u8]) -> Destination<'_> {
        if raw == self.login {
            return Destination::Login;
        }
        if raw == self.user {
            return Destination::User;
        }
        if raw == self.logout {
            return Destination::Logout;
        }
        if self.backchannel_logout.as_deref() == Some(raw) {
            return Destination::BackchannelLogout;
        }
        if self.fusionauth_webhook.as_deref() == Some(raw) {
            return Destination::FusionAuthWebhook;
        }
        let matches = |place| self.rules.get(place).is_some_and(|route: &Route| route.matches(decoded));
        let found = self.index.first(decoded, matches);
        let found = found.and_then(|place| Some((place, self.rules.get(place)?)));
        Destination::App(found.map_or(
            Rule { access: Access::Required, roles: &[], index: None },
            |(place, route)| Rule { access: route.access, roles: &route.roles, index: Some(place) },
        ))
    }

    /// The login path, for people.
    pub fn login(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.login)
    }

    /// Whether an app with lenient routing would take a path for the login path.
    pub fn is_login_variant(&self, decoded: &[u8]) -> bool {
        path::is_lenient_variant(decoded, &self.login)
    }
}

impl Route {
    fn path(&self) -> &[u8] {
        match &self.pattern {
            Pattern::Exact(path) | Pattern::Prefix(path) => path,
        }
    }

    /// A rule that opens a path matches exactly; one that protects also matches what an app that ignores case or a
    /// trailing slash would take for the same path.
    fn matches(&self, path: &[u8]) -> bool {
        match (&self.pattern, self.access) {
            (Pattern::Exact(exact), Access::Required) => path::is_variant(path, exact),
            (Pattern::Exact(exact), _) => path == exact,
            (Pattern::Prefix(prefix), Access::Required) => {
                within(path, prefix, |start| start.eq_ignore_ascii_case(prefix))
            }
            (Pattern::Prefix(prefix), _) => within(path, prefix, |start| start == prefix),
        }
    }
}

/// Whether `path` is `prefix` or below it.
fn within(path: &[u8], prefix: &[u8], is_prefix: impl Fn(&[u8]) -> bool) -> bool {
    let Some((start, rest)) = path.split_at_checked(prefix.len()) else { return false };
    is_prefix(start) && matches!(rest.first(), None | Some(b'/'))
}

/// Configured paths have passed the path rules already; one that had not would match nothing but itself.
fn decoded(configured: &str) -> Vec<u8> {
    path::decode(configured).map_or_else(|_| configured.as_bytes().to_vec(), Cow::into_owned)
}

#[cfg(test)]
mod tests;
