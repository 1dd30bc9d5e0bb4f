//! The `gateway.toml` of Portcullis.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::issuer::CLIENT_ID;

/// The settings that differ between the cases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gateway {
    /// Apps, each with its own host, all with the same upstream.
    pub(crate) apps: usize,
    /// Routes of each app beside the public one.
    pub(crate) routes: usize,
    /// `server.limits.verified_tokens`.
    pub(crate) verified_tokens: usize,
    /// A JWT is refreshed exactly when it expires.
    pub(crate) refreshes_on_time: bool,
}

/// One app with one public route.
pub(crate) const PLAIN: Gateway =
    Gateway { apps: 1, routes: 0, verified_tokens: 65_536, refreshes_on_time: false };

/// The host of an app.
pub(crate) fn host(app: usize) -> String {
    format!("app-{app}.localhost")
}

/// A path on the route with this number of an app.
pub(crate) fn path(route: usize) -> String {
    format!("/section-{route}/cart")
}

impl Gateway {
    /// One worker thread, as all proxies here.
    pub(crate) fn toml(&self, backend: SocketAddr, provider: SocketAddr) -> String {
        let (verified_tokens, early) =
            (self.verified_tokens, if self.refreshes_on_time { "0s" } else { "30s" });
        let leeway = if self.refreshes_on_time { "0s" } else { "5s" };
        let mut text = format!(
            r#"
[server]
listen = ["127.0.0.1:0"]
admin_listen = "127.0.0.1:0"
worker_threads = 1

[server.limits]
verified_tokens = {verified_tokens}

[server.log]
level = "error"

[refresh]
ahead = "{early}"

[identity_providers.main]
issuer = "http://{provider}"
leeway = "{leeway}"
"#
        );
        for app in 0..self.apps {
            text.push_str(&app_toml(app, self.routes, backend));
        }
        text
    }
}

fn app_toml(app: usize, routes: usize, backend: SocketAddr) -> String {
    let host = host(app);
    let mut text = format!(
        r#"
[apps.app-{app}]
hosts = ["{host}"]
upstreams = ["http://{backend}"]
client_id = "{CLIENT_ID}"
client_secret = "of no consequence here"
audience = "{CLIENT_ID}"

[apps.app-{app}.identity_headers]
X-Auth-User = "sub"
X-Auth-Email = "email"
X-Auth-Roles = "roles"

[[apps.app-{app}.routes]]
path = "/public/*"
access = "public"
"#
    );
    for route in 0..routes {
        let _always_fits = write!(
            text,
            "\n[[apps.app-{app}.routes]]\npath = \"/section-{route}/*\"\nroles = [\"customer\"]\n"
        );
    }
    text
}
