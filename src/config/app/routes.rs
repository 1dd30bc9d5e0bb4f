//! `[[apps.*.routes]]`. A route that no request can reach is an error.

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::values::path::{RoutePath, route_path};
use crate::config::values::{plain_text, word};
use crate::syntax::path::is_variant;

/// One `[[apps.NAME.routes]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The paths that the route matches.
    pub path: RoutePath,
    /// The callers who may pass.
    pub access: Access,
    /// The user must have one of these roles. If the list is empty, no role is needed. Roles are allowed only with
    /// [`Access::Required`].
    pub roles: Vec<String>,
}

/// The callers who may pass a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone may pass. Portcullis does not look at the session.
    Public,
    /// Everyone may pass. If there is a session, the app gets the identity.
    Optional,
    /// Only requests with a session may pass.
    Required,
}

/// Reads the routes. `own_paths` are the paths that the gateway answers itself.
pub(crate) fn routes(app: &Section<'_>, own_paths: &[&str]) -> Option<Vec<Route>> {
    let mut routes: Vec<(String, Route)> = Vec::new();
    let mut sound = true;
    for section in app.sections("routes") {
        let Some(route) = route(&section) else {
            sound = false;
            continue;
        };
        check_reachable(&section, &route, &routes, own_paths);
        routes.push((section.path().to_owned(), route));
    }
    sound.then(|| routes.into_iter().map(|(_, route)| route).collect())
}

fn route(section: &Section<'_>) -> Option<Route> {
    let path = section.required(
        "path",
        "write an exact path such as `\"/\"`, or a prefix such as `\"/assets/*\"`",
        route_path,
    );
    let access = section.defaulted("access", "\"required\"", |item| {
        word(
            item,
            &[("public", Access::Public), ("optional", Access::Optional), ("required", Access::Required)],
        )
    });
    let roles = section.optional("roles", "no role is asked for", |item| {
        item.some("list the roles of which any suffices, or leave the key out", role)
    });
    if section.has("roles") && access.is_some_and(|access| access != Access::Required) {
        let _: Option<()> = section.fault_at(
            "roles",
            "roles can only be asked for where a session is required",
            "write `access = \"required\"`, or remove `roles`",
        );
    }
    Some(Route {
        path: path?,
        access: access?,
        // A fault in the roles is already reported. The path can still be compared with other paths.
        roles: roles.flatten().unwrap_or_default(),
    })
}

/// Reads a role. A role must not begin or end with a blank, because the roles of tokens are trimmed.
fn role(item: &Item<'_>) -> Option<String> {
    let role = plain_text(item)?;
    if role.trim() == role {
        if role.contains(',') {
            let several: Vec<String> = role.split(',').map(|one| format!("`\"{}\"`", one.trim())).collect();
            item.warn(
                format!("{} is one role with a comma in its name", quote(&role)),
                format!("if several are meant, list them: {}", several.join(", ")),
            );
        }
        return Some(role);
    }
    item.fault(
        format!("{} begins or ends with a blank: nobody can have it", quote(&role)),
        format!("write `\"{}\"`", role.trim()),
    )
}

fn check_reachable(section: &Section<'_>, route: &Route, earlier: &[(String, Route)], own_paths: &[&str]) {
    let shown = quote(&route.path.to_string());
    let shadow = earlier.iter().find(|(_, other)| covers(other, &route.path));
    let _: Option<()> = match &route.path {
        RoutePath::Exact(path) if own_paths.contains(&path.as_str()) => section.fault_at(
            "path",
            format!("{shown} is answered by Portcullis itself, so that this route never matches"),
            "remove the route, or move the endpoint",
        ),
        _ => match shadow {
            Some((key, other)) => section.fault_at(
                "path",
                format!("{shown} can never match: `{key}` takes {} before", quote(&other.path.to_string())),
                "put the narrower route first, or remove one of the two",
            ),
            None => None,
        },
    };
}

/// Returns true if the route matches every request that `path`, exactly as written, matches.
fn covers(route: &Route, path: &RoutePath) -> bool {
    // A route with required access matches in any ASCII case. If its path is exact, it also matches with a trailing
    // slash. Other routes match only the path as written.
    let fold = |text: &str| match route.access {
        Access::Required => text.to_ascii_lowercase(),
        Access::Public | Access::Optional => text.to_owned(),
    };
    match (&route.path, path) {
        (RoutePath::Exact(wide), RoutePath::Exact(narrow)) if route.access == Access::Required => {
            is_variant(narrow.as_bytes(), wide.as_bytes())
        }
        (RoutePath::Exact(wide), RoutePath::Exact(narrow)) => wide == narrow,
        (RoutePath::Exact(_), RoutePath::Prefix(_)) => false,
        (RoutePath::Prefix(wide), RoutePath::Exact(narrow) | RoutePath::Prefix(narrow)) => fold(narrow)
            .strip_prefix(fold(wide).as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RoutePath {
        match text.strip_suffix("/*") {
            Some(prefix) => RoutePath::Prefix(prefix.into()),
            None => RoutePath::Exact(text.into()),
        }
    }

    #[test]
    fn what_a_route_covers() {
        for (wide, narrow, public, required) in [
            ("/a", "/a", true, true),
            ("/a", "/A", false, true),
            ("/a", "/a/", false, true),
            ("/a/", "/A", false, true),
            ("/a", "/a/*", false, false),
            ("/a/*", "/a", true, true),
            ("/a/*", "/a/", true, true),
            ("/a/*", "/a/b", true, true),
            ("/a/*", "/a/b/*", true, true),
            ("/a/*", "/A/b/*", false, true),
            ("/a/*", "/ab", false, false),
            ("/a/b/*", "/a/*", false, false),
            ("/*", "/", true, true),
            ("/*", "/a/*", true, true),
            ("/*", "/*", true, true),
        ] {
            for (access, expected) in
                [(Access::Public, public), (Access::Optional, public), (Access::Required, required)]
            {
                let route = Route { path: path(wide), access, roles: Vec::new() };
                assert_eq!(covers(&route, &path(narrow)), expected, "{access:?} {wide} over {narrow}");
            }
        }
    }
}
