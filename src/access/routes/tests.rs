//! Which route a path meets.

use proptest::prelude::*;

use super::*;
use crate::access::testing::app_rules;

fn routes(login: &str, rules: &str) -> Routes {
    app_rules(&format!("login.path = '{login}'\nroutes = [{rules}]")).routes
}

fn resolve<'a>(routes: &'a Routes, raw: &str) -> Destination<'a> {
    routes.resolve(raw.as_bytes(), &path::decode(raw).unwrap())
}

/// The index of the rule that is met.
fn rule(routes: &Routes, raw: &str) -> Option<usize> {
    match resolve(routes, raw) {
        Destination::App(rule) => rule.index,
        other => panic!("{raw}: {other:?}"),
    }
}

#[test]
fn the_first_match_wins_at_segment_boundaries() {
    let routes = routes(
        "/api/login",
        "{ path = '/', access = 'public' }, { path = '/assets/*', access = 'public' },
         { path = '/api/admin/*', access = 'required', roles = ['admin'] },
         { path = '/api/cart', access = 'required' }, { path = '/api/*', access = 'optional' },
         { path = '/café/*', access = 'public' }",
    );
    for (path, expected) in [
        ("/", Some(0)),
        ("/assets", Some(1)),
        ("/assets/", Some(1)),
        ("/assets/a/b.js", Some(1)),
        ("/%61ssets/a", Some(1)),
        ("/assets2", None),
        ("/assetsx/a", None),
        ("/asset", None),
        // What opens a path is exact.
        ("/Assets/a", None),
        ("/API/x", None),
        // What protects it is not.
        ("/api/admin", Some(2)),
        ("/api/admin/", Some(2)),
        ("/API/Admin/x", Some(2)),
        ("/api/%41dmin/x", Some(2)),
        ("/api/administrator", Some(4)),
        ("/api/cart", Some(3)),
        ("/api/cart/", Some(3)),
        ("/API/CART", Some(3)),
        ("/api/cart/x", Some(4)),
        ("/api/carts", Some(4)),
        ("/api", Some(4)),
        ("/caf%C3%A9/x", Some(5)),
        ("/caf%c3%a9", Some(5)),
        ("/elsewhere", None),
    ] {
        assert_eq!(rule(&routes, path), expected, "{path}");
    }
    let Destination::App(unmatched) = resolve(&routes, "/elsewhere") else { panic!() };
    assert_eq!((unmatched.access, unmatched.roles), (Access::Required, &[][..]));
    let Destination::App(admin) = resolve(&routes, "/api/admin") else { panic!() };
    assert_eq!(admin.roles, ["admin"]);
}

#[test]
fn a_prefix_of_everything() {
    let routes = routes("/api/login", "{ path = '/*', access = 'public' }");
    assert!(["/", "/a", "/a/b/", "/API/LOGIN/x"].iter().all(|path| rule(&routes, path) == Some(0)));
}

#[test]
fn own_endpoints_come_first_and_are_exact() {
    let routes = routes("/api/login", "{ path = '/*', access = 'public' }");
    assert_eq!(resolve(&routes, "/api/login"), Destination::Own(Endpoint::Login));
    assert_eq!(resolve(&routes, "/api/user"), Destination::Own(Endpoint::User));
    assert_eq!(resolve(&routes, "/api/logout"), Destination::Own(Endpoint::Logout));
    assert_eq!(rule(&routes, "/api/backchannel-logout"), Some(0));
    for variant in ["/api/login/", "/API/login", "/api/%6cogin", "/api/logi%6E", "/Api/Login/"] {
        assert_eq!(rule(&routes, variant), Some(0));
        assert!(routes.is_login_variant(&path::decode(variant).unwrap()), "{variant}");
    }
    assert!(!routes.is_login_variant(b"/api/login/x"));
    assert!(!routes.is_login_variant(b"/api/login2"));
}

#[test]
fn providers_have_an_endpoint_where_a_path_is_set() {
    let settings = "backchannel_logout.path = '/ended'\nroutes = [{ path = '/*', access = 'public' }]";
    let routes = app_rules(settings).routes;
    assert_eq!(resolve(&routes, "/ended"), Destination::Own(Endpoint::BackchannelLogout));
    for other in ["/ended/", "/Ended", "/%65nded", "/api/backchannel-logout"] {
        assert_eq!(rule(&routes, other), Some(0), "{other}");
    }
}

proptest! {
    /// The index finds what looking at one route after the other finds.
    #[test]
    fn the_index_finds_the_first_route_that_matches(
        rules in proptest::collection::vec(("(/[abAB]{0,2}){1,4}", any::<bool>(), 0..3_usize), 0..12),
        paths in proptest::collection::vec("(/[abAB]{0,2}){1,5}", 1..12),
    ) {
        let access = [Access::Public, Access::Optional, Access::Required];
        let rules: Vec<_> = rules
            .into_iter()
            .map(|(path, is_exact, choice)| ConfiguredRoute {
                pattern: if is_exact {
                    Pattern::Exact(path.into_bytes())
                } else {
                    Pattern::Prefix(path::trim_slash(path.as_bytes()).to_vec())
                },
                access: access[choice],
                roles: vec![],
            })
            .collect();
        let index = RouteIndex::new(rules.iter().map(ConfiguredRoute::path));
        for path in paths {
            let expected = rules.iter().position(|route| route.matches(path.as_bytes()));
            let found = index.first(path.as_bytes(), |place| rules[place].matches(path.as_bytes()));
            prop_assert_eq!(found, expected, "{}", path);
        }
    }
}
