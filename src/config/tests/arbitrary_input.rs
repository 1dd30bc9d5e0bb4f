//! Arbitrary input neither panics nor is refused without a reason.

use proptest::prelude::*;

use crate::config::load::parse;

/// Any TOML value, of which some fit.
fn value() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(toml::Value::from),
        any::<i64>().prop_map(toml::Value::from),
        any::<f64>().prop_map(toml::Value::from),
        any::<String>().prop_map(toml::Value::from),
        "(http|https|rediss?|valkeys?[+]sentinel)://[a-z0-9.:/@*%,-]{0,20}".prop_map(toml::Value::from),
        "[0-9]{0,22}(ms|s|m|h|d|B|KiB|GiB)".prop_map(toml::Value::from),
        "/[a-z/.;%*]{0,8}".prop_map(toml::Value::from),
        "[0-9a-f:./]{0,20}".prop_map(toml::Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|map| toml::Value::Table(map.into_iter().collect())),
        ]
    })
}

/// A key, often one that there is.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "server",
            "listen",
            "admin_listen",
            "limits",
            "apps",
            "hosts",
            "upstreams",
            "cookies",
            "domain",
            "routes",
            "path",
            "roles",
            "identity_providers",
            "issuer",
            "algorithms",
            "client_secret",
            "env",
            "file",
            "identity_headers",
            "login",
            "user",
            "claims",
            "audience",
            "allowed_origins",
            "trusted_proxies",
            "main",
            "shared_state",
            "url",
            "keys",
            "prefix",
            "settle",
        ])
        .prop_map(String::from),
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text).map_err(|error| error.report("gateway.toml"));
    }

    #[test]
    fn no_toml_panics_and_what_is_refused_has_a_reason(
        root in prop::collection::btree_map(key(), value(), 0..5),
        app in prop::collection::btree_map(key(), value(), 0..6),
        provider in prop::collection::btree_map(key(), value(), 0..6),
    ) {
        let mut root: toml::Table = root.into_iter().collect();
        for (name, table) in [("apps", app), ("identity_providers", provider)] {
            let table: toml::Table = table.into_iter().collect();
            let named: toml::Table = std::iter::once((String::from("main"), toml::Value::Table(table))).collect();
            root.insert(name.to_owned(), toml::Value::Table(named));
        }
        if let Err(error) = parse(&root.to_string()) {
            prop_assert!(!error.problems.is_empty());
            prop_assert!(error.problems.iter().all(|problem| !problem.message.is_empty() && !problem.hint.is_empty()));
        }
    }

    #[test]
    fn a_value_in_the_place_of_any_key_of_the_reference_is_refused_or_understood(index in 0_usize..60, value in value()) {
        let reference: toml::Table = include_str!("../../../gateway.toml").parse().unwrap();
        let mut root = toml::Value::Table(reference);
        let mut left = index;
        replace(&mut root, &mut left, &value);
        if let Err(error) = parse(&root.to_string()) {
            prop_assert!(!error.problems.is_empty());
        }
    }
}

/// Puts a value in the place of the leaf of that number.
fn replace(tree: &mut toml::Value, left: &mut usize, value: &toml::Value) {
    match tree {
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, inner)| replace(inner, left, value)),
        toml::Value::Array(list) => list.iter_mut().for_each(|inner| replace(inner, left, value)),
        leaf => {
            if *left == 0 {
                *leaf = value.clone();
            }
            *left = left.wrapping_sub(1);
        }
    }
}
