//! Notes for the log on a refusal, in addition to its reason. A note names both sides of the comparison, and the
//! setting that decides it. Clients do not receive the note. A part of it is not for them, and they have sent the rest
//! themselves.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::access::identity::Identity;
use crate::syntax::log_text::shortened;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The largest number of characters of a foreign text.
const LONGEST: usize = 128;

/// Makes a foreign text fit for a line of the log.
pub fn shown(text: &[u8]) -> String {
    shortened(&String::from_utf8_lossy(text), LONGEST)
}

/// Names the origin of the request, and the setting that would admit it.
pub fn cross_site(headers: &HeaderMap) -> String {
    let said = |name: &HeaderName| {
        let values: Vec<String> =
            headers.get_all(name).iter().take(2).map(HeaderValue::as_bytes).map(shown).collect();
        (!values.is_empty()).then(|| values.join("`, `"))
    };
    match (said(&header::ORIGIN), said(&SEC_FETCH_SITE)) {
        (Some(origin), _) if origin == "null" => String::from(
            "`Origin` is `null`, and `Sec-Fetch-Site` does not say `same-origin`: a sandboxed frame, a file, or another site",
        ),
        (Some(origin), _) => format!(
            "`Origin` is `{origin}`, neither the app's own nor in `allowed_origins`: list it there if it is yours; behind a \
             proxy, let it pass `Host` on"
        ),
        (None, site) => format!(
            "there is no `Origin`, and `Sec-Fetch-Site` is `{}`: another site's page has sent it",
            site.unwrap_or_default()
        ),
    }
}

/// Names the required roles, and the roles of the identity.
pub fn roles(identity: &Identity, wanted: &[String]) -> String {
    let list = |roles: &[String]| shown(roles.join("`, `").as_bytes());
    match identity.roles() {
        [] => format!(
            "the route wants one of `{}`, and the JWT has no roles where `roles_claim` looks for them",
            list(wanted)
        ),
        roles => format!("the route wants one of `{}`, and the JWT has `{}`", list(wanted), list(roles)),
    }
}

/// Names a host that belongs to no app.
pub fn unknown_host(headers: &HeaderMap) -> String {
    match headers.get(header::HOST) {
        Some(host) => {
            format!("`Host` is `{}`, which is in the `hosts` of no app", shown(host.as_bytes()))
        }
        None => String::from("there is no `Host`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_is_short_and_escaped() {
        assert_eq!(shown(b"https://a.example"), "https://a.example");
        assert_eq!(shown(b"a\r\nlevel=ERROR \x1b[31m\xff"), "a\\r\\nlevel=ERROR \\u{1b}[31m\u{fffd}");
        let long = shown(&[b'a'; 5_000]);
        assert!(long.len() < 140 && long.ends_with("..."), "{long}");
    }
}
