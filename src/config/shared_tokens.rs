//! Finds two apps whose tokens are hard or impossible to distinguish. A token of one app could then open the other app.

use crate::config::app::table::{App, ReadApp};
use crate::config::identity_provider::ReadProvider;
use crate::config::quoting::quote;

/// Warns if an app shares its client or an audience with another app of the same issuer.
pub(super) fn check(app: &ReadApp<'_>, other: &ReadApp<'_>, providers: &[ReadProvider<'_>]) {
    let issuer = |app: &ReadApp<'_>| {
        let provider = providers.get(app.identity_provider?)?.provider.as_ref()?;
        Some(provider.issuer.as_str())
    };
    let same_issuer = issuer(app).is_some() && issuer(app) == issuer(other);
    let (Some(this), Some(that)) = (&app.app, &other.app) else { return };
    if !same_issuer {
        return;
    }
    let place = other.section.path();
    match shared(this, that) {
        Some(Shared::Client) => app.section.warn_at(
            "client_id",
            format!(
                "{} is the client of `{place}`, too: a token of one app opens the other",
                quote(&this.client_id)
            ),
            "give each app a client of its own",
        ),
        Some(Shared::ClientAlone) => app.section.warn_at(
            "client_id",
            format!(
                "{} is the client of `{place}`, too: only `aud` tells their tokens apart, and a refresh token of one app is \
                 good for the other",
                quote(&this.client_id)
            ),
            "give each app a client of its own",
        ),
        Some(Shared::Audience(audience)) => app.section.warn_at(
            "audience",
            format!(
                "{} is an audience of `{place}`, too: only a claim that names the client (`azp`, `client_id`, `cid`, `appid`) \
                 tells their tokens apart",
                quote(audience)
            ),
            "give each app an audience of its own; without one, see that the provider's tokens have such a claim",
        ),
        None => {}
    }
}

#[derive(Debug, PartialEq)]
enum Shared<'a> {
    /// The tokens cannot be distinguished.
    Client,
    /// Only the audience distinguishes the tokens.
    ClientAlone,
    /// Only the client distinguishes the tokens.
    Audience(&'a str),
}

fn shared<'a>(this: &'a App, that: &'a App) -> Option<Shared<'a>> {
    let audiences = audiences(that);
    let audience = self::audiences(this).into_iter().find(|audience| audiences.contains(audience));
    if this.client_id != that.client_id {
        return audience.map(Shared::Audience);
    }
    // If an app has no `audience`, the client suffices, whatever `aud` is.
    let any_audience = this.audience.is_empty() || that.audience.is_empty();
    let is_all_shared = any_audience || audience.is_some();
    Some(if is_all_shared { Shared::Client } else { Shared::ClientAlone })
}

/// Returns the audiences. One of them must be in `aud`.
fn audiences(app: &App) -> Vec<&str> {
    if app.audience.is_empty() {
        return vec![&app.client_id];
    }
    app.audience.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    /// Returns the warnings about two apps with these settings: each key, and the beginning of its message.
    fn warnings(providers: &str, store: &str, forums: &str) -> Vec<(String, String)> {
        let app = |name: &str, settings: &str| {
            format!(
                "[apps.{name}]\nhosts = ['{name}.localhost']\nupstreams = ['http://127.0.0.1:3000']\n\
                 client_secret = {{ env = 'CARGO_PKG_NAME' }}\n{settings}\n"
            )
        };
        let text = format!("{providers}\n{}{}", app("store", store), app("forums", forums));
        let loaded = parse(&text).unwrap_or_else(|error| panic!("{:#?}", error.problems));
        let shown = |message: &str| message.split(':').next().unwrap_or_default().to_owned();
        loaded.warnings.iter().map(|warning| (warning.key.clone(), shown(&warning.message))).collect()
    }

    #[test]
    fn apps_whose_tokens_are_hard_to_tell_apart() {
        const ONE: &str = "[identity_providers.main]\nissuer = 'https://id.example.com'";
        let client = ("apps.forums.client_id", "`store` is the client of `apps.store`, too");
        let audience = ("apps.forums.audience", "`api` is an audience of `apps.store`, too");
        let client_as_audience = ("apps.forums.audience", "`store` is an audience of `apps.store`, too");
        for (store, forums, expected) in [
            ("client_id = 'store'", "client_id = 'forums'", None),
            ("client_id = 'store'", "client_id = 'store'", Some(client)),
            (
                "client_id = 'store'\naudience = 'a'",
                "client_id = 'store'\naudience = ['b', 'c']",
                Some(client),
            ),
            (
                "client_id = 'store'\naudience = 'a'",
                "client_id = 'store'\naudience = ['b', 'a']",
                Some(client),
            ),
            ("client_id = 'store'\naudience = 'a'", "client_id = 'store'", Some(client)),
            (
                "client_id = 'store'\naudience = 'api'",
                "client_id = 'forums'\naudience = 'api'",
                Some(audience),
            ),
            (
                "client_id = 'store'\naudience = ['x', 'api']",
                "client_id = 'forums'\naudience = ['api', 'y']",
                Some(audience),
            ),
            ("client_id = 'store'\naudience = 'api'", "client_id = 'forums'", None),
            (
                "client_id = 'store'",
                "client_id = 'forums'\naudience = ['forums', 'store']",
                Some(client_as_audience),
            ),
            ("client_id = 'store'", "client_id = 'Store'", None),
        ] {
            let found = warnings(ONE, store, forums);
            let expected: Vec<_> =
                expected.into_iter().map(|(key, message)| (key.to_owned(), message.to_owned())).collect();
            assert_eq!(found, expected, "{store} | {forums}");
        }
    }

    #[test]
    fn it_is_the_issuer_that_counts() {
        let providers = |one: &str, other: &str| {
            format!("[identity_providers.a]\nissuer = '{one}'\n[identity_providers.b]\nissuer = '{other}'")
        };
        let app = |provider: &str| format!("client_id = 'store'\nidentity_provider = '{provider}'");
        let (one, other) = ("https://id.example.com", "https://other.example.com");
        assert_eq!(warnings(&providers(one, other), &app("a"), &app("b")), []);
        assert_eq!(warnings(&providers(one, one), &app("a"), &app("b")).len(), 1);
    }
}
