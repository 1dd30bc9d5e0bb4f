//! Mistakes in the text of a configuration: each message names the line and says what to write instead.

use std::process::Command;

use crate::support::{USABLE, complaint, portcullis, usable, write};

/// Returns what follows [`USABLE`], the key or table that is there twice by then, and its message.
/// The tables of [`USABLE`] are on lines 2 and 4, `hosts` is on line 5.
fn doubles() -> Vec<(&'static str, &'static str, String)> {
    let table = |first: u32, second: u32| {
        format!("this table is there twice: on line {first}, and again on line {second}")
    };
    let key = |first: u32, second: u32| {
        format!("this key is there twice: on line {first}, and again on line {second}")
    };
    vec![
        ("[apps.shop]\nclient_id = 'x'\n", "apps.shop", table(4, 8)),
        ("[ apps . \"shop\" ] # again\n", "apps.shop", table(4, 8)),
        ("[identity_providers.main]\n", "identity_providers.main", table(2, 8)),
        ("[server]\n[session]\n\n[server]\n", "server", table(8, 11)),
        ("[apps.shop.login]\n[apps.shop.login]\n", "apps.shop.login", table(8, 9)),
        ("login.path = '/a'\n[apps.shop.login]\n", "apps.shop.login", table(8, 9)),
        ("login = { path = '/a' }\n[apps.shop.login]\n", "apps.shop.login", table(8, 9)),
        ("[apps.shop.hosts]\n", "apps.shop.hosts", table(5, 8)),
        ("[[apps.shop]]\n", "apps.shop", table(4, 8)),
        ("[[apps.shop.hosts]]\n", "apps.shop.hosts", table(5, 8)),
        ("hosts = ['b']\n", "apps.shop.hosts", key(5, 8)),
        ("\"hosts\" = ['b']\n", "apps.shop.hosts", key(5, 8)),
        ("login.path = '/a'\nlogin.path = '/b'\n", "apps.shop.login.path", key(8, 9)),
        ("[apps]\nshop.hosts = ['b']\n", "apps.shop", key(4, 9)),
        (
            "[[apps.shop.routes]]\npath = '/a'\n[[apps.shop.routes]]\npath = '/b'\npath = '/c'\n",
            "apps.shop.routes.path",
            key(11, 12),
        ),
        (
            "user.claims = [\n  'sub', # [apps.other]\n  'email',\n]\nclient_id = 'b'\n",
            "apps.shop.client_id",
            key(7, 12),
        ),
        (
            "cookies = { secure = true, secure = true }\n",
            "secure",
            String::from("this key is there twice in one inline table on line 8"),
        ),
    ]
}

#[test]
fn what_is_there_twice_is_named_with_both_lines() {
    let directory = tempfile::tempdir().unwrap();
    for (rest, name, message) in doubles() {
        let config = format!("# shop\n{USABLE}{rest}");
        let text = complaint(directory.path(), config.as_bytes());
        let first = format!("error: `{name}`: {message}\n");
        let line = message.rsplit(' ').next().unwrap();
        assert!(
            text.starts_with(&first) && text.contains(&format!("gateway.toml:{line}\n")),
            "{first}{text}"
        );
        let windows = complaint(directory.path(), config.replace('\n', "\r\n").as_bytes());
        assert!(windows.starts_with(&first), "{first}{windows}");
    }
}

/// Mistakes of newcomers whose first message did not say enough.
#[test]
fn what_newcomers_write_is_answered_with_what_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let usable = usable();
    let hex = "00112233445566778899aabbccddeeff".repeat(2);
    let well_known = "'https://id.example.com/.well-known/openid-configuration'";
    for (text, words) in [
        (format!("server.listen = [127.0.0.1:8080]\n{usable}"), &["quotes", ":1\n"][..]),
        (format!("server.shutdown_delay = 30s\n{usable}"), &["quotes", ":1\n"]),
        (usable.replace("'shop.localhost'", "shop.localhost"), &["quotes", ":4\n"]),
        (usable.replace("client_id = 'shop'", "client_id = 'shop"), &["close the quotes", ":6\n"]),
        (usable.replace("client_id = 'shop'", "client_id: 'shop'"), &["not `key: value`", ":6\n"]),
        (
            usable.replace("'shop.localhost'", "\u{201c}shop.localhost\u{201d}"),
            &["typographic quotes", ":4\n"],
        ),
        (
            usable.replace("'shop.localhost'", "\u{2018}shop.localhost\u{2019}"),
            &["typographic quotes", ":4\n"],
        ),
        (
            usable.replace("client_id = 'shop'", "client_id = \u{201e}shop\u{201c}"),
            &["typographic quotes", ":6\n"],
        ),
        (usable.replace("'shop.localhost'", "'shop.localhost"), &["not closed, also on the line before"]),
        (format!("server.admin_listen = 'off'\n{usable}"), &["write `false`, without quotes", ":1\n"]),
        (format!("server.admin_listen = 'False'\n{usable}"), &["write `false`, without quotes", ":1\n"]),
        (String::from("{\"server\": {\"listen\": [\"127.0.0.1:8080\"]}}"), &["looks like JSON", "[table]"]),
        (format!("session.seal_keys = ['{hex}']\n{usable}"), &["hexadecimal", "openssl rand -base64 32"]),
        (
            usable.replace("'https://id.example.com'", well_known),
            &["the metadata", "write the issuer alone, `\"https://id.example.com\"`"],
        ),
        (
            format!("{usable}[[apps.shop.routes]]\npath = '/'\nforward_access_token = true\n"),
            &["above the header of `apps.shop.routes[0]`", ":10\n"],
        ),
        (
            format!("{usable}[apps.shop.routes]\npath = '/'\n[apps.shop.routes]\n"),
            &["write `[[…]]` for each"],
        ),
    ] {
        let told = complaint(directory.path(), text.as_bytes());
        assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
    }
}

/// Each text has one mistake in `[shared_state]`, or one that matters only with this table.
#[test]
fn mistakes_about_the_shared_state_are_answered_with_what_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let usable = usable();
    let key = "keys = ['MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=']";
    for (lines, words) in [
        (
            "url = 'redis://user:hunter2@127.0.0.1'",
            &[
                "`shared_state.url`: this URL has a user name or a password in it",
                "`username` and `password`",
                ":3\n",
            ][..],
        ),
        (
            "url = 'redis://valkey.example.com'",
            &["another machine without TLS", "the scheme `rediss`", "`allow_cleartext = true`", ":3\n"],
        ),
        ("url = 'redis://a,b,c'", &["names several servers", "`\"redis+sentinel://…/mymaster\"`", ":3\n"]),
        ("url = 'redis://127.0.0.1'\nsettle = '0s'", &["too short", "from `1s` to `30s`", ":4\n"]),
        (
            "url = 'redis://127.0.0.1'\n[refresh]\nreplay_window = '1m'",
            &["a refresh is claimed for 60s", "lower `refresh.replay_window` to `\"37s\"` or less", ":5\n"],
        ),
    ] {
        let text = format!("[shared_state]\n{key}\n{lines}\n{usable}");
        let told = complaint(directory.path(), text.as_bytes());
        assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
        assert!(!told.contains("hunter2") && !told.contains("MDEyMz"), "a secret is shown: {told}");
    }
}

#[test]
fn an_empty_variable_for_a_secret_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = write(directory.path(), &usable().replace("PATH", "MESSAGES_EMPTY"));
    let mut check = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let output = check.args(["check", "--config", &empty]).env("MESSAGES_EMPTY", "").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("variable `MESSAGES_EMPTY` is empty"));
}

#[test]
fn explain_says_which_url_it_expects() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &usable());
    for (url, words) in [
        ("shop.localhost/cart", &["write it as a browser has it", "https://"][..]),
        ("http://store.localhost/cart", &["compare with `hosts` of the apps: shop.localhost"]),
    ] {
        let output = portcullis(&["explain", "--config", &file, "GET", url]);
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
    }
}
