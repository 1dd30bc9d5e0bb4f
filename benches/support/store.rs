//! The app that is measured.

use crate::issuer::CLIENT_ID;

/// Returns the tables of an app that gets three identity headers, up to its first route, which is public.
pub(crate) fn store_toml(upstream: &str) -> String {
    format!(
        r#"
[apps.store]
hosts = ["store.localhost"]
upstreams = ["{upstream}"]
client_id = "{CLIENT_ID}"
client_secret = "of no consequence here"
audience = "{CLIENT_ID}"

[apps.store.identity_headers]
X-Auth-User = "sub"
X-Auth-Email = "email"
X-Auth-Roles = "roles"

[[apps.store.routes]]
path = "/"
access = "public"
"#
    )
}
