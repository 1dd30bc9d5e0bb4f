//! Settings that are permitted with a warning.

use super::accepted;

#[test]
fn a_logout_that_will_revoke_nothing_is_warned_of() {
    let app = "client_auth = 'none'\n[apps.shop]\nhosts = ['a.localhost']\nupstreams = ['http://127.0.0.1:3000']\nclient_id = 'a'";
    for (provider, why) in [
        ("issuer = 'http://adfs.example.com/trust'", Some("the issuer is not asked over `http`")),
        ("issuer = 'acme.com'", Some("the issuer is no URL")),
        ("issuer = 'https://id.example.com?tenant=a'", Some("the issuer is no URL")),
        ("issuer = 'http://acme.com'\nkind = 'fusionauth'", Some("the issuer is not asked over `http`")),
        ("issuer = 'https://id.example.com'", None),
        ("issuer = 'http://127.0.0.1:9000'", None),
        ("issuer = 'http://adfs.example.com/trust'\nrevocation_endpoint = 'https://i/r'", None),
    ] {
        let text = format!(
            "[identity_providers.main]\n{provider}\ntoken_endpoint = 'https://i/t'\njwks_uri = 'https://i/j'\n{app}"
        );
        let warnings = accepted(&text).warnings;
        match why {
            None => assert_eq!(warnings, [], "{provider}"),
            Some(why) => {
                assert_eq!(warnings.len(), 1, "{provider}: {warnings:?}");
                assert_eq!(warnings[0].key, "identity_providers.main.revocation_endpoint");
                assert!(
                    warnings[0].message.contains(why) && warnings[0].message.contains("revoke nothing"),
                    "{warnings:?}"
                );
            }
        }
    }
}

/// Browsers keep the cookies of a login at some hosts; at others nobody can know.
#[test]
fn plain_http_is_warned_about_where_browsers_drop_the_cookies() {
    let warnings = |server: &str, hosts: &str, cookies: &str| {
        let text = format!(
            "[server]\n{server}\n[identity_providers.main]\nissuer = 'https://id.example.com'\nclient_auth = 'none'\n\
             [apps.shop]\nhosts = [{hosts}]\nupstreams = ['http://127.0.0.1:3000']\nclient_id = 'shop'\n\
             [apps.shop.cookies]\n{cookies}"
        );
        let warnings = accepted(&text).warnings;
        let found = warnings.into_iter().find(|warning| warning.key == "server.listen");
        found.map(|warning| format!("{} {}", warning.message, warning.hint))
    };
    let plain = "listen = ['0.0.0.0:80']";
    for host in [
        "shop.example.com",
        "shop",
        "shop.local",
        "localhost.example.com",
        "notlocalhost",
        "192.168.1.7",
        "10.0.0.1",
        "0.0.0.0",
        "::",
        "fe80::1",
        "128.0.0.1",
        "localhost.localdomain",
    ] {
        let warning =
            warnings(plain, &format!("'{host}'"), "").unwrap_or_else(|| panic!("no word of {host}"));
        assert!(warning.contains(&format!("`{host}`")) && warning.contains("trusted_proxies"), "{warning}");
        assert!(warnings("", &format!("'{host}'"), "").is_some(), "{host} at the default listener");
    }
    for host in
        ["localhost", "shop.localhost", "a.b.localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "::1"]
    {
        assert_eq!(warnings(plain, &format!("'{host}'"), ""), None, "{host}");
    }
    let names = "access_token = 'a'\nrefresh_token = 'r'\n";
    for (server, cookies, is_warned) in [
        (plain, names, true),
        (plain, "access_token = '__Secure-a'", true),
        (plain, "secure = false\naccess_token = 'a'\nrefresh_token = 'r'\n", false),
        ("listen = ['0.0.0.0:80']\ntrusted_proxies = ['10.1.0.0/16']", "", false),
        ("listen = ['127.0.0.1:80']", "", true),
    ] {
        assert_eq!(
            warnings(server, "'shop.example.com'", cookies).is_some(),
            is_warned,
            "{server} {cookies}"
        );
    }
    let several = warnings(plain, "'shop.localhost', 'a.example.com', 'b.example.com', 'c.example.com'", "");
    assert!(
        several.as_ref().is_some_and(|text| text.starts_with("`a.example.com` (and 2 more)")),
        "{several:?}"
    );
}
