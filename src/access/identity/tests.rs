//! What an app gets to see of an identity.

use http::HeaderName;
use serde_json::json;

use super::*;
use crate::access::testing::{NOW, claims, key_set, mint, mint_raw, token_rules};
use crate::access::token::verify;
use crate::config::IdentityHeader;

fn path(dotted: &str) -> ClaimPath {
    if dotted == "roles" {
        return ClaimPath::Roles;
    }
    ClaimPath::Segments(dotted.split('.').map(String::from).collect())
}

fn rules(claim: &str) -> IdentityRules {
    let header = IdentityHeader {
        name: HeaderName::from_static("x-auth-claim"),
        display_name: "X-Auth-Claim".into(),
        claim: path(claim),
    };
    let user_claims = ["sub", "email", "roles", "realm_access.roles", "none"].map(path).to_vec();
    IdentityRules {
        roles_claim: path("realm_access.roles"),
        headers: vec![(&header).into()],
        max_header_size: 4096,
        user_claims,
    }
}

fn identity(changes: &Value, rules: &IdentityRules) -> Result<Identity, TokenError> {
    let verified = verify(&mint(&claims(changes)), &token_rules(), &key_set(), NOW).unwrap().claims;
    Identity::new(verified, rules)
}

/// The value of the one header, which shows the claim `path`.
fn header(path: &str, changes: &Value) -> Result<Option<Vec<u8>>, TokenError> {
    let identity = identity(changes, &rules(path))?;
    assert!(identity.headers().len() <= 1);
    Ok(identity.headers().first().map(|(_, value)| value.as_bytes().to_vec()))
}

#[test]
fn header_values() {
    for (path, changes, expected) in [
        ("sub", json!({}), Some("alice")),
        ("email", json!({"email": "a@example.com"}), Some("a@example.com")),
        ("email", json!({"email": ""}), Some("")),
        ("email", json!({}), None),
        ("name", json!({"name": "Zoë ✓"}), Some("Zoë ✓")),
        ("n", json!({"n": 7}), Some("7")),
        ("n", json!({"n": -2.5}), Some("-2.5")),
        ("n", json!({"n": u64::MAX}), Some("18446744073709551615")),
        ("b", json!({"b": true}), Some("true")),
        ("list", json!({"list": ["a", 1, false, null, {"x": 1}, ["y"], "b"]}), Some("a,1,false,b")),
        ("list", json!({"list": []}), None),
        ("list", json!({"list": [{"x": 1}]}), None),
        // The borders of a list's members are commas, so that none has one, nor a blank at its ends.
        ("list", json!({"list": ["users,admins"]}), None),
        ("list", json!({"list": ["users,admins", " b", "c ", "\td", " ", "e f"]}), Some("b,c,d,e f")),
        ("roles", json!({"realm_access": {"roles": ["users,admins", " b "]}}), Some("b")),
        // What is no list has none.
        ("name", json!({"name": "Doe, John"}), Some("Doe, John")),
        // Maps whose keys are the members.
        ("o", json!({"o": {"x": true, "y": false}}), Some("x")),
        ("o", json!({"o": {"x": {"1": "a.example"}, "y,z": {}}}), Some("x")),
        ("roles", json!({"realm_access": {"roles": {"admin": {"1": "a.example"}}}}), Some("admin")),
        ("o", json!({"o": {"x": 1}}), None),
        ("o", json!({"o": {"x": "text"}}), None),
        ("o.x", json!({"o": {"x": 1}}), Some("1")),
        ("o.x.y", json!({"o": {"x": 1}}), None),
        ("o.0", json!({"o": ["x"]}), None),
        ("roles", json!({"realm_access": {"roles": ["a", "b"]}}), Some("a,b")),
        ("roles", json!({"realm_access": {"roles": "a b"}}), Some("a,b")),
        ("roles", json!({"realm_access": {"roles": []}}), None),
        // The word `roles` is what `roles_claim` says, not the claim of that name.
        ("roles", json!({"roles": ["admin"]}), None),
        ("long", json!({"long": "x".repeat(4096)}), Some(&*"x".repeat(4096))),
    ] {
        let expected = expected.map(|text: &str| text.as_bytes().to_vec());
        assert_eq!(header(path, &changes), Ok(expected), "{path} of {changes}");
    }
}

#[test]
fn claims_that_cannot_be_header_values() {
    use ClaimFault::{Blank, ControlCharacter};
    for (path, changes, fault) in [
        ("x", json!({"x": "a\r\nX-Auth-User: admin"}), ControlCharacter),
        ("x", json!({"x": "a\rb"}), ControlCharacter),
        ("x", json!({"x": "a\nb"}), ControlCharacter),
        ("x", json!({"x": "a\u{0}b"}), ControlCharacter),
        ("x", json!({"x": "a\tb"}), ControlCharacter),
        ("x", json!({"x": "a\t"}), ControlCharacter),
        ("x", json!({"x": "a\u{7f}"}), ControlCharacter),
        ("x", json!({"x": "\u{1b}[2J"}), ControlCharacter),
        ("x", json!({"x": ["fine", "a\nb"]}), ControlCharacter),
        ("x", json!({"x": {"a\nb": true}}), ControlCharacter),
        ("roles", json!({"realm_access": {"roles": ["a\r\nb"]}}), ControlCharacter),
        ("x", json!({"x": " alice"}), Blank),
        ("x", json!({"x": "alice "}), Blank),
        ("x", json!({"x": " "}), Blank),
        ("sub", json!({"sub": " alice"}), Blank),
    ] {
        let expected = TokenError::UnusableClaim(path.into(), fault);
        assert_eq!(header(path, &changes), Err(expected), "{path} of {changes}");
    }
    // What is no header does not matter.
    assert_eq!(header("sub", &json!({"x": "a\nb"})), Ok(Some(b"alice".to_vec())));
}

#[test]
fn what_the_app_is_not_told_is_known() {
    let long_list = vec!["role"; 1000];
    for (path, changes, expected) in [
        ("x", json!({"x": "x".repeat(4096)}), vec![]),
        ("x", json!({}), vec![]),
        ("x", json!({"x": []}), vec![]),
        ("x", json!({"x": null}), vec![]),
        ("x", json!({"x": ["a", "b"]}), vec![]),
        (
            "x",
            json!({"x": "x".repeat(4097)}),
            vec![
                "header `x-auth-claim` is left out: claim `x` has 4097 bytes, and `max_identity_header_size` is 4096",
            ],
        ),
        (
            "x",
            json!({"x": long_list.clone()}),
            vec![
                "header `x-auth-claim` is left out: claim `x` has 4999 bytes, and `max_identity_header_size` is 4096",
            ],
        ),
        (
            "roles",
            json!({"realm_access": {"roles": long_list}}),
            vec![
                "header `x-auth-claim` is left out: claim `roles` has 4999 bytes, and `max_identity_header_size` is 4096",
            ],
        ),
        (
            "x",
            json!({"x": ["a,b", "c", "d,"]}),
            vec!["header `x-auth-claim` is without 2 of the members of claim `x`: they have a comma"],
        ),
        (
            "x",
            json!({"x": {"y": "z"}}),
            vec![
                "header `x-auth-claim`: claim `x` is or has an object whose keys are no members, which is no text",
            ],
        ),
        (
            "sub",
            json!({"realm_access": {"roles": {"roles": ["a"]}}}),
            vec![
                "`roles_claim`: claim `realm_access.roles` is or has an object whose keys are no members, in which no \
                 roles can be read",
            ],
        ),
    ] {
        let identity = identity(&changes, &rules(path)).unwrap();
        let told: Vec<_> = identity.omissions().iter().map(ToString::to_string).collect();
        assert_eq!(told, expected, "{path} of {changes}");
    }
}

#[test]
fn a_header_that_is_too_large_takes_nothing_else_along() {
    let mut rules = rules("roles");
    let email = IdentityHeader {
        name: HeaderName::from_static("x-auth-email"),
        display_name: "X".into(),
        claim: path("email"),
    };
    rules.headers.push((&email).into());
    rules.max_header_size = 64;
    let many: Vec<_> = (0..100).map(|number| format!("role-{number}")).collect();
    let changes = json!({"realm_access": {"roles": many}, "email": "a@example.com"});
    let identity = identity(&changes, &rules).unwrap();
    let names: Vec<_> = identity.headers().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-auth-email"]);
    // Our own check knows them all.
    assert!(identity.has_any_role(&[String::from("role-99")]));
}

#[test]
fn the_user_object_has_full_names_and_leaves_out_what_is_absent() {
    for (changes, expected) in [
        (json!({}), json!({"sub": "alice"})),
        (
            json!({"email": "a@x", "realm_access": {"roles": ["a"]}, "none": "present"}),
            json!({"sub": "alice", "email": "a@x", "roles": ["a"], "realm_access.roles": ["a"], "none": "present"}),
        ),
        // As the claim is, not as a header would have it; roles always as a list.
        (
            json!({"email": {"x": "a\nb"}, "realm_access": {"roles": "a b"}}),
            json!({"sub": "alice", "email": {"x": "a\nb"}, "roles": ["a", "b"], "realm_access.roles": "a b"}),
        ),
        (json!({"realm_access": {"roles": []}}), json!({"sub": "alice", "realm_access.roles": []})),
        (json!({"secret": "x"}), json!({"sub": "alice"})),
    ] {
        let rules = rules("sub");
        let shown = identity(&changes, &rules).unwrap().user_object(&rules);
        assert_eq!(Value::Object(shown), expected, "{changes}");
    }
    // `null` is as good as absent.
    let null = claims(&json!({})).to_string().replacen('{', r#"{"email":null,"#, 1);
    let token = mint_raw("EdDSA", r#"{"alg":"EdDSA"}"#, null);
    let verified = verify(&token, &token_rules(), &key_set(), NOW).unwrap().claims;
    let shown = Identity::new(verified, &rules("email")).unwrap();
    assert!(shown.headers().is_empty());
    assert_eq!(Value::Object(shown.user_object(&rules("email"))), json!({"sub": "alice"}));
}

#[test]
fn about_to_expire() {
    // iat, exp and now from NOW; ahead; whether it is time.
    for (iat, exp, now, ahead, expected) in [
        (0, 300, 0, 30, false),
        (0, 300, 269, 30, false),
        (0, 300, 270, 30, true),
        (0, 300, 300, 30, true),
        (0, 300, 1000, 30, true),
        (0, 20, 14, 30, false),
        (0, 20, 15, 30, true),
        (0, 1, 0, 30, false),
        (0, 1, 1, 30, true),
        (0, 300, 225, 3600, true),
        (0, 300, 224, 3600, false),
        (0, 300, 299, 0, false),
        (0, 300, 300, 0, true),
        // Issued in the future, within the leeway.
        (5, 300, 0, 3600, false),
    ] {
        let identity = identity(&json!({"iat": NOW + iat, "exp": NOW + exp}), &rules("sub")).unwrap();
        assert_eq!(identity.is_about_to_expire(ahead, NOW + now), expected, "{iat} {exp} {now} {ahead}");
    }
    let undated = identity(&json!({"iat": null}), &rules("sub")).unwrap();
    assert!(!undated.is_about_to_expire(u64::MAX, NOW + 299));
}

#[test]
fn roles_are_compared_exactly_and_none_are_asked_for_by_an_empty_list() {
    let identity = identity(&json!({"realm_access": {"roles": ["a", "b"]}}), &rules("sub")).unwrap();
    let asked =
        |roles: &[&str]| identity.has_any_role(&roles.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(asked(&[]) && asked(&["b"]) && asked(&["x", "a"]));
    assert!(!asked(&["A"]) && !asked(&["a,b"]) && !asked(&[""]));
}
