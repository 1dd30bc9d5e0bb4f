//! `[apps.*.login]`, `[apps.*.user]`, `[apps.*.logout]`, `[apps.*.backchannel_logout]` and the table of the provider's
//! webhook: the endpoints that the gateway answers itself.

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::toml_tree::Value;
use crate::config::values::claim::{ClaimPath, claim_path};
use crate::config::values::path::endpoint_path;
use crate::config::values::plain_text;
use crate::config::webhook::{self, Webhook};

/// `[apps.NAME.login]`.
#[derive(Debug, Clone)]
pub struct Login {
    /// The exact path.
    pub path: String,
    /// The name of the field with the user name.
    pub username_field: String,
    /// The name of the field with the password.
    pub password_field: String,
}

/// `[apps.NAME.user]`.
#[derive(Debug, Clone)]
pub struct User {
    /// The exact path.
    pub path: String,
    /// The status of an answer without a session: 404 or 401.
    pub anonymous_status: u16,
    /// The claims that the user object shows.
    pub claims: Vec<ClaimPath>,
}

/// `[apps.NAME.logout]`.
#[derive(Debug, Clone)]
pub struct Logout {
    /// The exact path.
    pub path: String,
}

/// `[apps.NAME.backchannel_logout]`.
#[derive(Debug, Clone)]
pub struct BackchannelLogout {
    /// The exact path.
    pub path: String,
}

const TABLES: [&str; 5] = ["login", "user", "logout", "backchannel_logout", Webhook::NAME];

/// The endpoints. An endpoint that could not be read is `None`.
#[expect(
    clippy::option_option,
    reason = "the outer one is `wrong, and reported`, the inner one `not wanted`"
)]
pub(crate) struct Endpoints {
    pub(crate) login: Option<Login>,
    pub(crate) user: Option<User>,
    pub(crate) logout: Option<Logout>,
    pub(crate) backchannel_logout: Option<Option<BackchannelLogout>>,
    pub(crate) webhook: Option<Option<Webhook>>,
}

impl Endpoints {
    /// The paths of the endpoints, in the order of [`TABLES`].
    fn path_of_each(&self) -> [Option<&str>; 5] {
        [
            self.login.as_ref().map(|login| login.path.as_str()),
            self.user.as_ref().map(|user| user.path.as_str()),
            self.logout.as_ref().map(|logout| logout.path.as_str()),
            self.backchannel_logout.as_ref().and_then(Option::as_ref).map(|logout| logout.path.as_str()),
            self.webhook.as_ref().and_then(Option::as_ref).map(|webhook| webhook.path.as_str()),
        ]
    }

    /// Returns the paths that could be read.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.path_of_each().into_iter().flatten().collect()
    }
}

/// Reads these tables of an app.
pub(crate) fn endpoints(app: &Section<'_>) -> Endpoints {
    let tables = TABLES.map(|name| app.section(name));
    let [login, user, logout, backchannel_logout, webhook] = &tables;
    let endpoints = Endpoints {
        login: self::login(login),
        user: self::user(user),
        logout: self::logout(logout),
        backchannel_logout: self::backchannel_logout(backchannel_logout),
        webhook: webhook::webhook(webhook),
    };
    let paths: Vec<_> = tables.iter().zip(endpoints.path_of_each()).collect();
    check_paths(&paths);
    endpoints
}

fn login(section: &Section<'_>) -> Option<Login> {
    let path = section.defaulted("path", "\"/api/login\"", endpoint_path);
    let username_field = section.defaulted("username_field", "\"username\"", plain_text);
    let password_field = section.defaulted("password_field", "\"password\"", plain_text);
    if username_field.is_some() && username_field == password_field {
        let _: Option<()> = section.fault_at(
            "password_field",
            "user name and password have the same field",
            "name the two fields of the app's login form",
        );
    }
    Some(Login { path: path?, username_field: username_field?, password_field: password_field? })
}

fn user(section: &Section<'_>) -> Option<User> {
    let path = section.defaulted("path", "\"/api/user\"", endpoint_path);
    let anonymous_status = section.defaulted("anonymous_status", "404", |item| match item.value() {
        Value::Integer(404) => Some(404),
        Value::Integer(401) => Some(401),
        Value::Integer(other) => {
            item.fault(format!("`{other}` is not possible here"), "write `404` or `401`")
        }
        _ => item.wrong_type("a status", "write `404` or `401`, without quotes"),
    });
    let claims =
        section.defaulted("claims", r#"["sub", "email", "name", "preferred_username", "roles"]"#, claims);
    Some(User { path: path?, anonymous_status: anonymous_status?, claims: claims? })
}

fn claims(item: &Item<'_>) -> Option<Vec<ClaimPath>> {
    let claims =
        item.each("write a list of claim paths, such as `[\"sub\", \"email\", \"roles\"]`", claim_path)?;
    let mut names: Vec<String> = claims.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    // `"a.b"` and `["a.b"]` are different claims, but both would be the same member `a.b` of the user object.
    let doubled = names.windows(2).find_map(|pair| pair.first().filter(|first| pair.last() == Some(*first)));
    match doubled {
        Some(name) => {
            item.fault(format!("two claims would both be shown as {}", quote(name)), "remove one of the two")
        }
        None => Some(claims),
    }
}

fn logout(section: &Section<'_>) -> Option<Logout> {
    let path = section.defaulted("path", "\"/api/logout\"", endpoint_path);
    Some(Logout { path: path? })
}

#[expect(clippy::option_option, reason = "as in `Endpoints`")]
fn backchannel_logout(section: &Section<'_>) -> Option<Option<BackchannelLogout>> {
    let path = section.optional("path", "no such endpoint", endpoint_path)?;
    Some(path.map(|path| BackchannelLogout { path }))
}

/// Checks that no two paths are equal. The gateway also refuses variants of these paths, so two variants of one path
/// count as equal.
fn check_paths(endpoints: &[(&Section<'_>, Option<&str>)]) {
    let plain = |path: &str| path.trim_end_matches('/').to_lowercase();
    for (index, (section, path)) in endpoints.iter().enumerate() {
        let Some(path) = path else { continue };
        let earlier = endpoints
            .iter()
            .take(index)
            .find(|(_, other)| other.is_some_and(|other| plain(other) == plain(path)));
        if let Some((other, _)) = earlier {
            let _: Option<()> = section.fault_at(
                "path",
                format!("{} collides with `{}`", quote(path), other.child("path")),
                "give each endpoint a path of its own; case and a trailing slash do not count",
            );
        }
    }
}
