//! `[apps.*.cookies]`. Some settings would make browsers silently drop the cookies (RFC 6265bis section 5.7). They are
//! errors.

use std::time::Duration;

use crate::config::quoting::{list, quote};
use crate::config::reader::{Item, Section, boolean};
use crate::config::values::cookie_name::cookie_name;
use crate::config::values::duration::duration;
use crate::config::values::{host_name, word};

/// `[apps.NAME.cookies]`.
#[derive(Debug, Clone)]
pub struct Cookies {
    /// The name of the JWT's cookie.
    pub access_token: String,
    /// The name of the refresh token's cookie.
    pub refresh_token: String,
    /// `SameSite`.
    pub same_site: SameSite,
    /// `Secure`.
    pub secure: bool,
    /// `Domain`. `None` means host-only cookies.
    pub domain: Option<String>,
    /// `Max-Age` of both cookies. `None` means that the cookies end when the browser closes.
    pub refresh_token_lifetime: Option<Duration>,
}

/// `SameSite` (RFC 6265bis section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `Lax`.
    Lax,
    /// `Strict`.
    Strict,
    /// `None`. It is valid only with `Secure`.
    None,
}

impl Cookies {
    /// Returns true if browsers keep the cookies when they reach the app's host by plain http. Browsers keep `Secure`
    /// cookies only for names and addresses of their own machine (Safari does not even do that). They drop other
    /// `Secure` cookies without a message.
    pub fn are_kept_over_http(&self, host: &str) -> bool {
        !self.secure || host_name::is_loopback(host)
    }
}

/// Reads the table. `hosts` are the hosts of the app.
pub(crate) fn cookies(app: &Section<'_>, hosts: &[String]) -> Option<Cookies> {
    let section = app.section("cookies");
    let access_token = section.defaulted("access_token", "\"__Host-access_token\"", cookie_name);
    let refresh_token = section.defaulted("refresh_token", "\"__Host-refresh_token\"", cookie_name);
    let same_site = section.defaulted("same_site", "\"lax\"", |item| {
        word(item, &[("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)])
    });
    let secure = section.defaulted("secure", "true", boolean);
    let domain = section.optional("domain", "host-only cookies", |item| domain(item, hosts));
    let lifetime = section
        .optional("refresh_token_lifetime", "until the browser closes", |item| duration(item, "1s", "400d"));

    let names = [access_token.as_deref(), refresh_token.as_deref()];
    check_prefixes(&section, &names.into_iter().flatten().collect::<Vec<_>>(), secure);
    if let (Some(access_token), Some(refresh_token)) = (&access_token, &refresh_token) {
        check_distinct(&section, access_token, refresh_token);
    }
    if secure == Some(false) {
        if same_site == Some(SameSite::None) {
            let _: Option<()> = section.fault_at(
                "same_site",
                "browsers drop a cookie that is `none` and not `secure`",
                "write `\"lax\"` or `\"strict\"`, or leave `secure` out",
            );
        }
        section.warn_at(
            "secure",
            "the session's cookies are sent over plain http, where anybody on the way can read them",
            "use it for development only",
        );
    }
    Some(Cookies {
        access_token: access_token?,
        refresh_token: refresh_token?,
        same_site: same_site?,
        secure: secure?,
        domain: domain?,
        refresh_token_lifetime: lifetime?,
    })
}

/// Checks the prefixes of the names. Browsers compare the prefixes without regard to case.
fn check_prefixes(section: &Section<'_>, names: &[&str], secure: Option<bool>) {
    let starting = |prefixes: &[&str]| -> Vec<&str> {
        let has_one =
            |name: &str| prefixes.iter().any(|prefix| name.to_ascii_lowercase().starts_with(prefix));
        names.iter().copied().filter(|name| has_one(name)).collect()
    };
    let insecure = starting(&["__host-", "__secure-"]);
    if secure == Some(false) && !insecure.is_empty() {
        let _: Option<()> = section.fault_at(
            "secure",
            format!("browsers drop {} without `Secure`", list(&insecure)),
            "leave `secure` out, or choose names without prefix, such as `access_token = \"access_token\"` (for development only)",
        );
    }
    let host_only = starting(&["__host-"]);
    if section.has("domain") && !host_only.is_empty() {
        let _: Option<()> = section.fault_at(
            "domain",
            format!("browsers drop {} with a `Domain`", list(&host_only)),
            "leave `domain` out, or choose names such as `access_token = \"__Secure-access_token\"`",
        );
    }
}

/// Checks that neither cookie can be taken for a part of the other. A long token is split over `name`, `name.1`,
/// `name.2`, ….
fn check_distinct(section: &Section<'_>, access_token: &str, refresh_token: &str) {
    let is_part = |name: &str, of: &str| {
        name.strip_prefix(of)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // Browsers compare prefixes without regard to case. Some servers compare whole names in that way.
    let (access, refresh) = (access_token.to_ascii_lowercase(), refresh_token.to_ascii_lowercase());
    if access == refresh {
        let _: Option<()> = section.fault_at(
            "refresh_token",
            format!("both cookies are called {}", quote(refresh_token)),
            "give each a name of its own",
        );
    } else if is_part(&access, &refresh) || is_part(&refresh, &access) {
        let _: Option<()> = section.fault_at(
            "refresh_token",
            format!(
                "{} and {} look like parts of one split cookie",
                quote(access_token),
                quote(refresh_token)
            ),
            "choose names that do not differ by a number only",
        );
    }
}

/// Reads a domain. It must be one that browsers accept from every host of the app.
fn domain(item: &Item<'_>, hosts: &[String]) -> Option<String> {
    const HINT: &str =
        "write the part that the app's hosts have in common, such as `\"example.com\"`, or leave the key out";
    let text = item.text("a domain", HINT)?;
    if text.starts_with('.') || text.contains('*') {
        let plain = text.trim_start_matches(['*', '.']);
        return item.fault(
            format!("{} has a wildcard, but a cookie domain always covers what is below it", quote(text)),
            match host_name::parse(plain) {
                Ok(plain) => format!("write `\"{plain}\"`, or leave the key out for host-only cookies"),
                Err(_) => String::from(HINT),
            },
        );
    }
    let domain = match host_name::parse(text) {
        Ok(domain) => domain,
        Err((wrong, _)) => return item.fault(format!("{} {wrong}", quote(text)), HINT),
    };
    if domain.parse::<std::net::IpAddr>().is_ok() {
        return item
            .fault(format!("{} is an address, which has no domain", quote(text)), "leave the key out");
    }
    if psl::suffix_str(&domain) == Some(domain.as_str()) {
        return item.fault(format!("{} is a public suffix: browsers drop such cookies", quote(text)), HINT);
    }
    let outside = hosts.iter().find(|host| {
        !host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    if let Some(host) = outside {
        return item.fault(format!("{} does not cover the app's host {}", quote(text), quote(host)), HINT);
    }
    Some(domain)
}
