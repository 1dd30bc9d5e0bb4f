//! Checks that compare tables with each other: an app with other apps, with the listeners, and with the providers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::app::cookies::Cookies;
use crate::config::app::table::ReadApp;
use crate::config::app::upstreams::Upstream;
use crate::config::identity_provider::ReadProvider;
use crate::config::quoting::quote;
use crate::config::server::table::ReadServer;
use crate::config::shared_tokens;
use crate::config::values::host_name::is_loopback;

/// Compares all tables that have been read.
pub(super) fn check(server: &ReadServer<'_>, providers: &[ReadProvider<'_>], apps: &[ReadApp<'_>]) {
    for (index, app) in apps.iter().enumerate() {
        for other in apps.iter().take(index) {
            check_hosts(app, other);
            check_cookies(app, other);
            shared_tokens::check(app, other, providers);
        }
        check_upstreams(app, server);
        if let Some(tls) = &server.tls {
            tls.check_hosts(&app.section, app.hosts.iter().flatten());
        }
    }
    check_plain_http(server, apps);
    for (index, provider) in providers.iter().enumerate() {
        // If an app's provider could not be read, the app may have meant this provider.
        let is_used = apps.iter().any(|app| app.identity_provider.is_none_or(|used| used == index));
        if !is_used && !apps.is_empty() {
            provider
                .section
                .warn_here("no app uses this identity provider", "remove it, or name it in an app");
        }
    }
}

/// Warns if nothing shows that a request came by https. Browsers then drop the cookies of a login without a message.
fn check_plain_http(server: &ReadServer<'_>, apps: &[ReadApp<'_>]) {
    let Some(settings) = &server.server else { return };
    let redirects = settings.tls.as_ref().is_some_and(|tls| tls.redirect_port.is_some());
    let has_tls = !settings.listen_tls.is_empty();
    // If there is a TLS listener, browsers do not use a plain listener on a loopback address.
    let is_plain =
        settings.listen.iter().any(|address| !has_tls || !address.ip().to_canonical().is_loopback());
    if !is_plain || redirects || !settings.trusted_proxies.is_empty() {
        return;
    }
    let lost = apps.iter().filter_map(|app| Some((app.cookies.as_ref()?, app.hosts.as_ref()?)));
    let mut lost =
        lost.flat_map(|(cookies, hosts)| hosts.iter().filter(|host| !cookies.are_kept_over_http(host)));
    let Some(host) = lost.next() else { return };
    let others = match lost.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    server.section.warn_at(
        "listen",
        format!(
            "{}{others} is served over plain http, where browsers keep no `Secure` cookies: a login is answered with 200, and \
             nobody is logged in",
            quote(host)
        ),
        if has_tls {
            "set `server.tls.redirect_port`, which sends browsers to https, or listen on `127.0.0.1` only"
        } else {
            "set `server.listen_tls`, or list the proxy that ends TLS in `server.trusted_proxies`; for development take hosts \
             such as `store.localhost`, or `cookies.secure = false` with names without `__Host-`"
        },
    );
}

fn check_hosts(app: &ReadApp<'_>, other: &ReadApp<'_>) {
    let (Some(hosts), Some(others)) = (&app.hosts, &other.hosts) else { return };
    for host in hosts.iter().filter(|host| others.contains(host)) {
        let _: Option<()> = app.section.fault_at(
            "hosts",
            format!("{} already belongs to `{}`", quote(host), other.section.path()),
            "give every app hosts of its own",
        );
    }
}

/// Reports two apps whose cookies would be confused. A cookie with a domain also reaches the other app's hosts, so the
/// two apps need different names.
fn check_cookies(app: &ReadApp<'_>, other: &ReadApp<'_>) {
    let (Some(cookies), Some(others)) = (&app.cookies, &other.cookies) else { return };
    let reached = reaches(cookies, other.hosts.as_deref()) || reaches(others, app.hosts.as_deref());
    let names = |cookies: &Cookies| [cookies.access_token.clone(), cookies.refresh_token.clone()];
    let shared = names(cookies).into_iter().find(|name| names(others).contains(name));
    if let Some(name) = shared.filter(|_| reached) {
        let key = if cookies.domain.is_some() { "cookies" } else { "hosts" };
        let _: Option<()> = app.section.fault_at(
            key,
            format!(
                "by its `domain` the cookie {} also reaches, or is reached by, the hosts of `{}`",
                quote(&name),
                other.section.path()
            ),
            "leave `domain` out, or give the two apps different cookie names",
        );
    }
}

fn reaches(cookies: &Cookies, hosts: Option<&[String]>) -> bool {
    let Some(domain) = &cookies.domain else { return false };
    hosts.unwrap_or_default().iter().any(|host| {
        host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// Reports an upstream that is the gateway itself. It would be a loop, or would publish the admin listener.
fn check_upstreams(app: &ReadApp<'_>, server: &ReadServer<'_>) {
    for upstream in app.upstreams.iter().flatten() {
        let own = server.listen.iter().flatten().map(|address| ("listen", address));
        let own_tls = server.listen_tls.iter().flatten().map(|address| ("listen_tls", address));
        let admin = server.admin_listen.iter().map(|address| ("admin_listen", address));
        if let Some((key, address)) =
            own.chain(own_tls).chain(admin).find(|(_, address)| is_at(upstream, **address))
        {
            let _: Option<()> = app.section.fault_at(
                "upstreams",
                format!(
                    "`{}:{}` is Portcullis itself: `server.{key}` has `{address}`",
                    upstream.host, upstream.port
                ),
                "write the address of the app",
            );
        }
    }
}

fn is_at(upstream: &Upstream, listener: SocketAddr) -> bool {
    let is_local = is_loopback(&upstream.host);
    let address: Option<IpAddr> =
        upstream.host.parse().ok().or(is_local.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let Some(address) = address.map(|address: IpAddr| address.to_canonical()) else { return false };
    // Connecting to the unspecified address reaches this machine.
    let is_here = is_local || address.is_loopback() || address.is_unspecified();
    upstream.port == listener.port()
        && (address == listener.ip()
            || is_here
                && (listener.ip().is_unspecified()
                    || address.is_unspecified() && listener.ip().is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_that_are_the_gateway() {
        for (host, port, listener, expected) in [
            ("127.0.0.1", 80, "127.0.0.1:80", true),
            ("127.0.0.1", 81, "127.0.0.1:80", false),
            ("127.0.0.2", 80, "127.0.0.1:80", false),
            ("127.0.0.2", 80, "0.0.0.0:80", true),
            ("localhost", 80, "127.0.0.1:80", true),
            ("shop.localhost", 80, "0.0.0.0:80", true),
            ("::1", 80, "[::]:80", true),
            ("0.0.0.0", 80, "127.0.0.1:80", true),
            ("10.0.0.1", 80, "10.0.0.1:80", true),
            ("10.0.0.1", 80, "0.0.0.0:80", false),
            ("shop.internal", 80, "0.0.0.0:80", false),
            ("127.0.0.1", 80, "127.0.0.1:0", false),
        ] {
            let upstream = Upstream { host: host.into(), port, tls: false, h2c: false };
            assert_eq!(is_at(&upstream, listener.parse().unwrap()), expected, "{host}:{port} and {listener}");
        }
    }
}
