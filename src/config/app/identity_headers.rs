//! `[apps.*.identity_headers]`: the claim for each header, and the headers that must not be identity headers.

use http::HeaderName;

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::values::claim::{ClaimPath, claim_path};
use crate::syntax::header_name::canonical;

/// One entry of `[apps.NAME.identity_headers]`.
#[derive(Debug, Clone)]
pub struct IdentityHeader {
    /// The header that the app receives.
    pub name: HeaderName,
    /// The header's name as the file writes it. HTTP/1.1 upstreams that distinguish case get this name.
    pub display_name: String,
    /// The claim with the header's value.
    pub claim: ClaimPath,
}

/// The headers that an app gets if the file has no such table.
const DEFAULT: [(&str, &str); 3] =
    [("X-Auth-User", "sub"), ("X-Auth-Email", "email"), ("X-Auth-Roles", "roles")];

/// Headers (in canonical form) that frame the message, belong to one connection, or already have another meaning.
const RESERVED: [&str; 28] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Reads the table, in the order of the file.
pub(crate) fn identity_headers(app: &Section<'_>) -> Option<Vec<IdentityHeader>> {
    app.record(
        "identity_headers",
        r#"{ X-Auth-User = "sub", X-Auth-Email = "email", X-Auth-Roles = "roles" }"#,
    );
    let section = app.open_section("identity_headers");
    if !app.has("identity_headers") {
        return DEFAULT
            .iter()
            .map(|(name, claim)| {
                let claim = match *claim {
                    "roles" => ClaimPath::Roles,
                    name => ClaimPath::Segments(vec![name.to_owned()]),
                };
                Some(IdentityHeader { name: header_name(name)?, display_name: (*name).to_owned(), claim })
            })
            .collect();
    }
    let mut headers: Vec<IdentityHeader> = Vec::new();
    let mut sound = true;
    for (display_name, item) in section.values() {
        let claim = claim_path(&item);
        match usable_name(display_name, &item, &headers).zip(claim) {
            Some((name, claim)) => {
                headers.push(IdentityHeader { name, display_name: display_name.to_owned(), claim });
            }
            None => sound = false,
        }
    }
    sound.then_some(headers)
}

fn usable_name(text: &str, item: &Item<'_>, earlier: &[IdentityHeader]) -> Option<HeaderName> {
    const HINT: &str = "choose a name of its own, such as `X-Auth-User`";
    let Some(name) = header_name(text) else {
        return item.fault(format!("{} is not a header name", quote(text)), HINT);
    };
    let form = canonical(text);
    if RESERVED.contains(&form.as_str())
        || ["x-forwarded-", "sec-", "access-control-"].iter().any(|prefix| form.starts_with(prefix))
    {
        return item
            .fault(format!("{} has a meaning of its own and cannot carry an identity", quote(text)), HINT);
    }
    if let Some(other) = earlier.iter().find(|other| canonical(&other.display_name) == form) {
        return item.fault(
            format!("{} and {} are one header to many servers", quote(&other.display_name), quote(text)),
            "remove one of the two; case and everything but letters and digits do not count",
        );
    }
    Some(name)
}

fn header_name(text: &str) -> Option<HeaderName> {
    // Some servers would take all names without a letter or digit for the same name.
    let has_substance = text.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if text.len() > 128 || !has_substance { None } else { HeaderName::from_bytes(text.as_bytes()).ok() }
}
