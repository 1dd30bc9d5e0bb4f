//! Finds the endpoint or the route of a request, and the access that the route allows.

use std::borrow::Cow;

use crate::access::endpoint::Endpoint;
use crate::config::{self, Access, RoutePath};
use crate::syntax::path;

/// The destination of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination<'a> {
    /// An endpoint of the gateway's own.
    Own(Endpoint),
    /// The app.
    App(Rule<'a>),
}

/// The route of a request. Logs and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Route {
    /// There is no route. The path is refused, or no route matches.
    #[default]
    Unmatched,
    /// An endpoint of the gateway's own.
    Own(Endpoint),
    /// A route of the app, by its place in the file, from 0.
    OfApp(usize),
}

impl Route {
    /// Returns the number of routes of an app with `of_app` configured routes. [`Self::index`] is below it.
    pub const fn count(of_app: usize) -> usize {
        1 + Endpoint::ALL.len() + of_app
    }

    /// Returns its place in a table of all routes of an app.
    pub const fn index(self) -> usize {
        match self {
            Self::Unmatched => 0,
            Self::Own(endpoint) => 1 + endpoint as usize,
            Self::OfApp(place) => Self::count(place),
        }
    }
}

impl Destination<'_> {
    /// Returns the route of the destination.
    pub const fn route(&self) -> Route {
        match self {
            Self::Own(endpoint) => Route::Own(*endpoint),
            Self::App(Rule { index: Some(place), .. }) => Route::OfApp(*place),
            Self::App(Rule { index: None, .. }) => Route::Unmatched,
        }
    }
}

/// The rule of the first route that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The access that the route allows.
    pub access: Access,
    /// The roles. An identity needs one of them. If it is empty, no role is needed.
    pub roles: &'a [String],
    /// The route's place in the file, from 0. `None` if no route matches.
    pub index: Option<usize>,
}

/// An app's paths.
#[derive(Debug)]
pub struct Routes {
    login: Vec<u8>,
    endpoints: Vec<(Vec<u8>, Endpoint)>,
    rules: Vec<ConfiguredRoute>,
    index: RouteIndex,
}

#[derive(Debug)]
struct ConfiguredRoute {
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
    /// Reads the routes of an app.
    pub fn new(app: &config::App) -> Self {
        let rules = app.routes.iter().map(|route| ConfiguredRoute {
            pattern: match &route.path {
                RoutePath::Exact(path) => Pattern::Exact(decoded(path)),
                RoutePath::Prefix(path) => Pattern::Prefix(decoded(path)),
            },
            access: route.access,
            roles: route.roles.clone(),
        });
        let rules: Vec<_> = rules.collect();
        let path = |endpoint: Endpoint| Some((endpoint.path(app)?.as_bytes().to_vec(), endpoint));
        let endpoints = Endpoint::ALL.into_iter().filter_map(path);
        Self {
            login: app.login.path.clone().into_bytes(),
            endpoints: endpoints.collect(),
            index: RouteIndex::new(rules.iter().map(ConfiguredRoute::path)),
            rules,
        }
    }

    /// Finds a request's destination. `raw` is the path as it will be forwarded. `decoded` is the decoded path.
    pub fn resolve(&self, raw: &[u8], decoded: &[u8]) -> Destination<'_> {
        if let Some((_, endpoint)) = self.endpoints.iter().find(|(path, _)| path == raw) {
            return Destination::Own(*endpoint);
        }
        let matches =
            |place| self.rules.get(place).is_some_and(|route: &ConfiguredRoute| route.matches(decoded));
        let found = self.index.first(decoded, matches);
        let found = found.and_then(|place| Some((place, self.rules.get(place)?)));
        Destination::App(found.map_or(
            Rule { access: Access::Required, roles: &[], index: None },
            |(place, route)| Rule { access: route.access, roles: &route.roles, index: Some(place) },
        ))
    }

    /// Returns the login path, for people.
    pub fn login(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.login)
    }

    /// Tells whether an app with lenient routing would treat a path as the login path.
    pub fn is_login_variant(&self, decoded: &[u8]) -> bool {
        path::is_lenient_variant(decoded, &self.login)
    }
}

impl ConfiguredRoute {
    fn path(&self) -> &[u8] {
        match &self.pattern {
            Pattern::Exact(path) | Pattern::Prefix(path) => path,
        }
    }

    /// Tells whether the route matches a path. A route that opens a path matches exactly. A route that protects a path
    /// also matches its variants in case or with a trailing slash, because an app may treat them as the same path.
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

/// Tells whether `path` is `prefix` or below it.
fn within(path: &[u8], prefix: &[u8], is_prefix: impl Fn(&[u8]) -> bool) -> bool {
    let Some((start, rest)) = path.split_at_checked(prefix.len()) else { return false };
    is_prefix(start) && matches!(rest.first(), None | Some(b'/'))
}

/// Decodes a configured path. It has passed the path rules already. Otherwise it would only match its own text.
fn decoded(configured: &str) -> Vec<u8> {
    path::decode(configured).map_or_else(|_| configured.as_bytes().to_vec(), Cow::into_owned)
}

/// An index of an app's routes by the hashes of their paths. It finds candidates without comparing all routes.
///
/// A route matches a path if the route's own path is a beginning of it, up to a slash or the end. So all beginnings of
/// a path are looked up by their hashes, in one pass over the path. The index only finds candidates. The route itself
/// decides whether it matches.
#[derive(Debug)]
struct RouteIndex {
    /// The hash of each route's path, and the route's place. The entries are sorted.
    entries: Vec<(u64, usize)>,
    /// The length of the longest path in bytes. Longer beginnings need no look-up.
    longest: usize,
}

impl RouteIndex {
    /// Makes an index of routes with these paths, in the order of the file.
    fn new<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut entries, mut longest) = (Vec::new(), 0);
        for (place, path) in paths.enumerate() {
            // The last slash is left out, because some routes ignore it. A beginning of a path ends without a slash,
            // too.
            let path = path.strip_suffix(b"/").unwrap_or(path);
            longest = longest.max(path.len());
            entries.push((path.iter().fold(START, |hash, byte| step(hash, *byte)), place));
        }
        entries.sort_unstable();
        Self { entries, longest }
    }

    /// Returns the first route, in the order of the file, that matches a path.
    fn first(&self, path: &[u8], matches: impl Fn(usize) -> bool) -> Option<usize> {
        let mut first: Option<usize> = None;
        let mut look_up = |hash| {
            let start = self.entries.partition_point(|(known, _)| *known < hash);
            let candidates = self.entries.get(start..).unwrap_or_default().iter();
            for (_, place) in candidates.take_while(|(known, _)| *known == hash) {
                if first.is_some_and(|first| first < *place) {
                    return;
                }
                if matches(*place) {
                    first = Some(*place);
                    return;
                }
            }
        };
        let mut hash = START;
        for (at, byte) in path.iter().enumerate() {
            if at > self.longest {
                return first;
            }
            if *byte == b'/' {
                look_up(hash);
            }
            hash = step(hash, *byte);
        }
        look_up(hash);
        first
    }
}

/// The start value of the hash. The hash is FNV-1a with 64 bits, without regard to case. Only configured paths are in
/// the index, so strangers cannot fill it with collisions.
const START: u64 = 0xcbf2_9ce4_8422_2325;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
}

#[cfg(test)]
mod tests;
