//! Configurations that are valid and probably not meant: `check` warns about them.

use crate::support::{USABLE, complaint, portcullis, usable, warnings, write};

#[test]
fn secrets_that_stand_for_others_are_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    for (secret, words) in [
        ("${STORE_CANARY}", "nobody has expanded"),
        ("$STORE_CANARY", "nobody has expanded"),
        ("{{ canary }}", "nobody has expanded"),
        ("%STORE_CANARY%", "nobody has expanded"),
        ("/run/secrets/canary", "is a path"),
        ("<canary>", "is a placeholder"),
        ("change-me", "is a placeholder"),
    ] {
        std::fs::write(directory.path().join("store"), secret).unwrap();
        for (written, hint) in [
            (format!("\"{secret}\""), "write `{ env = \"NAME\" }` or `{ file = "),
            (String::from("{ env = \"MESSAGES_SECRET\" }"), "environment variable `MESSAGES_SECRET`"),
            (String::from("{ file = \"store\" }"), "the file `store` holds"),
        ] {
            let text = format!("{USABLE}client_secret = {written}\n");
            let found = warnings(directory.path(), &text, &[("MESSAGES_SECRET", secret)]);
            let [warning] = found.as_slice() else { panic!("{written}, {secret}: {found:#?}") };
            assert!(warning.starts_with("`apps.shop.client_secret` (line 7): "), "{warning}");
            assert!(warning.contains(words) && warning.contains(hint), "{words}, {hint}: {warning}");
            assert!(!warning.contains(secret), "it is shown: {warning}");
        }
        let sealed = format!("session.seal_keys = [\"{secret}\"]\n{}", usable());
        let refused = complaint(directory.path(), sealed.as_bytes());
        assert!(refused.contains(words) && refused.contains("openssl rand -base64 32"), "{refused}");
    }
    let named = format!("{USABLE}client_secret = {{ env = \"${{PATH}}\" }}\n");
    assert!(complaint(directory.path(), named.as_bytes()).contains("without `$` and braces"));
    assert!(warnings(directory.path(), &usable(), &[("PATH", "s3cr3t$and%more")]).is_empty());
}

#[test]
fn a_variable_anywhere_else_is_said_not_to_be_expanded() {
    let directory = tempfile::tempdir().unwrap();
    let usable = usable();
    for (from, to, key) in [
        ("client_id = 'shop'", "client_id = '${CLIENT_ID}'", "apps.shop.client_id"),
        ("client_id = 'shop'", "client_id = '{{ client_id }}'", "apps.shop.client_id"),
        (
            "client_id = 'shop'",
            "client_id = 'shop'\naudience = ['a', '${AUDIENCE}']",
            "apps.shop.audience[1]",
        ),
        ("'http://127.0.0.1:3000'", "'http://${APP}:3000'", "apps.shop.upstreams[0]"),
    ] {
        let found = warnings(directory.path(), &usable.replace(from, to), &[]);
        assert!(found.len() == 1 && found[0].starts_with(&format!("`{key}` ")), "{found:#?}");
        assert!(found[0].contains("nothing in this file is expanded"), "{found:#?}");
    }
    for (from, to) in [("'https://id.example.com'", "'${ISSUER}'"), ("'shop.localhost'", "'${HOST}'")] {
        let text = complaint(directory.path(), usable.replace(from, to).as_bytes());
        assert!(text.contains("nothing in this file is expanded"), "{text}");
    }
}

#[test]
fn an_engine_in_cleartext_and_a_useless_grace_period_are_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
    let table = "[shared_state]\nkeys = [{ file = \"key\" }]\nallow_cleartext = true\n";
    for (url, is_warned) in [
        ("redis://valkey.example.com", true),
        ("redis://127.0.0.1", false),
        ("rediss://valkey.example.com", false),
    ] {
        let found = warnings(directory.path(), &format!("{table}url = '{url}'\n{}", usable()), &[]);
        assert_eq!(found.len(), usize::from(is_warned), "{url}: {found:#?}");
        let words = ["`shared_state.allow_cleartext` (line 3)", "in clear", "`rediss`"];
        assert!(!is_warned || words.iter().all(|word| found[0].contains(word)), "{found:#?}");
    }
    for (grace, is_warned) in [("1s", true), ("2s", true), ("3s", false), ("0s", false)] {
        let graced = usable().replace("[apps.shop]", &format!("refresh_grace = '{grace}'\n[apps.shop]"));
        let found = warnings(directory.path(), &graced, &[]);
        assert_eq!(found.len(), usize::from(is_warned), "{grace}: {found:#?}");
        let words = ["`identity_providers.main.refresh_grace` (line 3)", "changes nothing", "`\"10s\"`"];
        assert!(!is_warned || words.iter().all(|word| found[0].contains(word)), "{found:#?}");
    }
}

#[test]
fn an_admin_listener_for_everybody_is_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let usable = usable();
    for (address, is_warned) in [
        ("0.0.0.0:9090", true),
        ("[::]:9090", true),
        ("[::ffff:0.0.0.0]:9090", true),
        ("203.0.113.7:9090", true),
        ("[2001:db8::7]:9090", true),
        ("127.0.0.1:9090", false),
        ("127.8.0.1:9090", false),
        ("[::1]:9090", false),
        ("[::ffff:127.0.0.1]:9090", false),
        ("10.0.0.7:9090", false),
        ("172.16.0.7:9090", false),
        ("192.168.1.7:9090", false),
        ("100.64.0.7:9090", false),
        ("[fd00::7]:9090", false),
        ("[fe80::7]:9090", false),
    ] {
        let text = format!("server.admin_listen = '{address}'\n{usable}");
        let found = warnings(directory.path(), &text, &[]);
        assert_eq!(found.len(), usize::from(is_warned), "{address}: {found:#?}");
        let words =
            ["`server.admin_listen` (line 1)", address, "the status page and the metrics", "127.0.0.1"];
        assert!(!is_warned || words.iter().all(|word| found[0].contains(word)), "{found:#?}");
    }
}

#[test]
fn check_warns_of_apps_whose_tokens_open_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let app = |name: &str, client: &str, audience: &str| {
        format!(
            "[apps.{name}]\nhosts = ['{name}.localhost']\nupstreams = ['http://127.0.0.1:3000']\n\
             client_id = '{client}'\naudience = '{audience}'\n"
        )
    };
    let provider = "[identity_providers.main]\nissuer = 'https://id.example.com'\nclient_auth = 'none'\n";
    for (forums, warned) in [
        (
            app("forums", "store", "api"),
            Some("`apps.forums.client_id` (line 12): `store` is the client of `apps.store`, too"),
        ),
        (
            app("forums", "forums", "api"),
            Some("`apps.forums.audience` (line 13): `api` is an audience of `apps.store`, too"),
        ),
        (app("forums", "forums", "forums"), None),
    ] {
        let file = write(directory.path(), &format!("{provider}{}{forums}", app("store", "store", "api")));
        let output = portcullis(&["check", "--config", &file]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        match warned {
            Some(words) => assert!(text.contains(words), "{words}: {text}"),
            None => assert!(!text.contains("warning"), "{text}"),
        }
    }
}

#[test]
fn a_parameter_in_a_path_is_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let usable = usable();
    for (segment, is_warned) in [
        ("{id}", true),
        (":id", true),
        ("<int:id>", true),
        ("[slug]", true),
        ("{}", false),
        (":8080", false),
        ("a:b", false),
    ] {
        let text = format!("{usable}[[apps.shop.routes]]\npath = '/api/{segment}/x'\n");
        let found = warnings(directory.path(), &text, &[]);
        assert_eq!(found.len(), usize::from(is_warned), "{segment}: {found:#?}");
        assert!(
            found.iter().all(|warning| warning.contains("there are no parameters in paths")),
            "{found:#?}"
        );
    }
}

/// JSONPath, JSON pointers, indexes, a namespaced claim, roles in one string: valid as they stand, and never what was
/// meant.
#[test]
fn claims_and_roles_in_another_notation_are_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let usable = usable();
    for (claim, warned) in [
        ("'$.sub'", Some("`$.sub` has `$`")),
        ("'$.realm_access.roles'", Some("has `$`")),
        ("'user.0'", Some("elements of lists have none")),
        ("'roles[0]'", Some("has `roles[0]`")),
        ("'realm_access[\"roles\"]'", Some("is taken as the name of a claim")),
        ("'/realm_access/roles'", Some("is taken as the name of a claim")),
        ("'{realm_access.roles}'", Some("is taken as the name of a claim")),
        ("'{{ realm_access.roles }}'", Some("is taken as it stands")),
        ("'${ROLES_CLAIM}'", Some("is taken as it stands")),
        ("'groups.*'", Some("has `*`")),
        ("'realm_access. roles'", Some("has ` roles`")),
        ("'https://example.com/roles'", Some("`[\"https://example.com/roles\"]`")),
        ("['https://example.com/roles']", None),
        ("['https://example.com/roles', 'shop']", None),
        ("'urn:zitadel:iam:org:project:roles'", None),
        ("'cognito:groups'", None),
        ("'resource_access.my-shop.roles'", None),
        ("'roles2.v1'", None),
        ("'2'", None),
    ] {
        for text in [
            format!("{usable}roles_claim = {claim}\n"),
            format!("{usable}identity_headers = {{ X-Auth-User = {claim} }}\n"),
            format!("{usable}[apps.shop.user]\nclaims = [{claim}]\n"),
        ] {
            let found = warnings(directory.path(), &text, &[]);
            let found: Vec<_> = found
                .into_iter()
                .filter(|warning| warning.contains("claim") || warning.contains("identity_headers"))
                .collect();
            assert_eq!(found.len(), usize::from(warned.is_some()), "{claim}: {found:#?}");
            assert!(found.iter().all(|warning| warning.contains(warned.unwrap_or_default())), "{found:#?}");
        }
    }
    for (roles, is_warned) in
        [("['a,b']", true), ("['a', 'b, c']", true), ("['a', 'b']", false), ("['a b']", false)]
    {
        let text = format!("{usable}[[apps.shop.routes]]\npath = '/x'\nroles = {roles}\n");
        let found = warnings(directory.path(), &text, &[]);
        assert_eq!(found.len(), usize::from(is_warned), "{roles}: {found:#?}");
        assert!(found.iter().all(|warning| warning.contains("one role with a comma")), "{found:#?}");
    }
}
