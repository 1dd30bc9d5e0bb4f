//! The configuration from the command line: what `check` and a refused `run` print, and their exit codes.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as the tests themselves")]

use std::path::Path;
use std::process::{Command, Output};

fn portcullis(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis")).args(arguments).output().unwrap()
}

fn write(directory: &Path, text: &str) -> String {
    let path = directory.join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn check_prints_the_reference_as_a_table() {
    let output = portcullis(&["check", "--config", "gateway.toml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("\n  /api/admin/*     required  admin\n"), "{text}");
    assert!(text.ends_with("the configuration is valid, with 3 warnings\n"), "{text}");
    for secret in ["demo-secret", "ZGVtbyBzZWFs"] {
        assert!(!text.contains(secret), "a secret is shown: {text}");
    }
}

#[test]
fn check_and_run_refuse_a_bad_file_with_every_error_and_exit_code_64() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "[server]\nlisten = []\nport = 80\n");
    for arguments in [&["check", "--config", &file][..], &["run", "--config", &file], &["--config", &file]] {
        let output = portcullis(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        for key in ["`server.listen`", "`server.port`", "`identity_providers`", "`apps`"] {
            assert!(text.contains(key), "{key} in {text}");
        }
        assert!(text.contains(&format!("4 problems in `{file}`; nothing has been started")), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_file_that_is_not_there_is_a_bad_configuration() {
    let output = portcullis(&["--config", "no/such/gateway.toml"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(text.starts_with("error: the file cannot be read: "), "{text}");
}

/// What `check` says on standard error of a file with these bytes, which must be one problem.
fn complaint(directory: &Path, text: &[u8]) -> String {
    let path = directory.join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    let output = portcullis(&["check", "--config", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("1 problem in"), "{text}");
    text
}

const USABLE: &str = "[identity_providers.main]\nissuer = 'https://id.example.com'\n[apps.shop]\n\
    hosts = ['shop.localhost']\nupstreams = ['http://127.0.0.1:3000']\nclient_id = 'shop'\n";

/// `text` in UTF-16, without a mark.
fn utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

/// Contents that are no text in UTF-8, with what must be said of them.
fn foreign(text: &str) -> Vec<(Vec<u8>, &'static [&'static str])> {
    let marked = |mark: &[u8], text: Vec<u8>| [mark.to_vec(), text].concat();
    vec![
        (marked(b"\xff\xfe", utf16(text, false)), &["UTF-16", "save it as UTF-8"]),
        (marked(b"\xfe\xff", utf16(text, true)), &["UTF-16", "save it as UTF-8"]),
        (utf16(text, false), &["UTF-16", "save it as UTF-8"]),
        (utf16(text, true), &["UTF-16", "save it as UTF-8"]),
        (marked(b"# K\xf6ln\n", text.as_bytes().to_vec()), &["not UTF-8", "line 1"]),
        (marked(b"# a\n# \xc3\n", text.as_bytes().to_vec()), &["not UTF-8", "line 2"]),
        (marked(b"\x7fELF\x02\x01\x01\0\0\0", text.as_bytes().to_vec()), &["not a text"]),
        (vec![b'#'; 5 * 1024 * 1024], &["larger than"]),
    ]
}

#[test]
fn a_configuration_that_is_no_text_is_one_clear_problem() {
    let directory = tempfile::tempdir().unwrap();
    for (bytes, words) in foreign(USABLE) {
        let text = complaint(directory.path(), &bytes);
        for word in words {
            assert!(text.contains(word), "{word:?} in {text}");
        }
    }
    for empty in ["", "\u{feff}", "\n \r\n"] {
        let text = complaint(directory.path(), empty.as_bytes());
        assert!(text.contains("the file is empty") && text.contains("docs/configuration.md"), "{text}");
    }
    // What editors of other systems write is read.
    let secret = format!("{USABLE}client_secret = 'a'\n");
    for good in [format!("\u{feff}{secret}"), secret.replace('\n', "\r\n")] {
        let file = write(directory.path(), &good);
        assert_eq!(portcullis(&["check", "--config", &file]).status.code(), Some(0), "{good}");
    }
}

#[test]
fn a_configuration_that_cannot_be_opened_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("folder")).unwrap();
    std::fs::write(path("plain"), "").unwrap();
    std::os::unix::fs::symlink(path("gone"), path("dangling")).unwrap();
    std::os::unix::fs::symlink(path("loop"), path("loop")).unwrap();
    for (file, words) in [
        ("missing.toml", &["there is no such file", "--config"][..]),
        ("none/gateway.toml", &["its directory", "none` does not exist"]),
        ("folder", &["it is a directory", "gateway.toml"]),
        ("dangling", &["it is a link to", "gone", "does not exist"]),
        ("plain/gateway.toml", &["plain` is no directory"]),
        ("loop", &["symbolic links"]),
    ] {
        for command in ["check", "run", "doctor", "healthcheck"] {
            let output = portcullis(&[command, "--config", &path(file)]);
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{command} {file}");
            assert!(text.contains(&path(file)) && text.contains("1 problem in"), "{text}");
            for word in words {
                assert!(text.contains(word), "{word:?} in {text}");
            }
        }
    }
}

#[test]
fn files_of_secrets_and_certificates_say_why_they_are_unusable() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("folder")).unwrap();
    std::os::unix::fs::symlink(path("gone"), path("dangling")).unwrap();
    let secret = format!("{USABLE}client_secret = {{ file = 'FILE' }}\n");
    let authority =
        format!("{USABLE}client_secret = {{ env = 'PATH' }}\n[apps.shop.upstream_tls]\nca = 'FILE'\n");
    let authority = authority.replace("http://127.0.0.1", "https://127.0.0.1");
    let own = rcgen::generate_simple_self_signed([String::from("shop.localhost")]).unwrap();
    std::fs::write(path("good.key"), own.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("good.pem"), own.cert.pem()).unwrap();
    let tls = "[server]\nlisten_tls = ['127.0.0.1:8443']\n[server.tls]\ncertificates = [CERTIFICATE]\n";
    let tls = |files: &str| {
        format!("{}{USABLE}client_secret = {{ env = 'PATH' }}\n", tls.replace("CERTIFICATE", files))
    };
    let certificate = tls("{ certificate = 'FILE', key = 'good.key' }");
    let key = tls("{ certificate = 'good.pem', key = 'FILE' }");
    let kinds = [
        (&secret, "apps.shop.client_secret"),
        (&authority, "apps.shop.upstream_tls.ca"),
        (&certificate, "server.tls.certificates[0].certificate"),
        (&key, "server.tls.certificates[0].key"),
    ];
    for (config, name) in kinds {
        let complaint = |file: &str| {
            let text = complaint(directory.path(), config.replace("FILE", file).as_bytes());
            assert!(text.contains(&format!("`{name}`")) && text.contains(file), "{text}");
            text
        };
        for (file, words) in [
            ("missing", &["there is no such file"][..]),
            ("nowhere/file", &["its directory", "does not exist"]),
            ("folder", &["it is a directory"]),
            ("dangling", &["it is a link to", "does not exist"]),
        ] {
            let text = complaint(file);
            assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
        }
        for (bytes, words) in foreign("AAAA\n") {
            std::fs::write(path("file"), bytes).unwrap();
            let text = complaint("file");
            assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
            assert!(!text.contains("AAAA"), "{text}");
        }
        for empty in ["", "\u{feff}", "\n"] {
            std::fs::write(path("file"), empty).unwrap();
            assert!(complaint("file").contains("is empty"), "{name}");
        }
    }
    // A mark in front, as some editors write it, is no part of a secret or a PEM file.
    std::fs::write(path("file"), format!("\u{feff}{}", own.cert.pem())).unwrap();
    for config in [&authority, &certificate] {
        let file = write(directory.path(), &config.replace("FILE", "file"));
        assert_eq!(portcullis(&["check", "--config", &file]).status.code(), Some(0), "{config}");
    }
    for (config, content, words) in [
        (&authority, own.cert.der().to_vec(), "openssl x509 -inform der"),
        (&certificate, own.cert.der().to_vec(), "openssl x509 -inform der"),
        (&authority, own.signing_key.serialize_pem().into_bytes(), "a private key, and no certificate"),
        (&certificate, own.signing_key.serialize_pem().into_bytes(), "a private key, and no certificate"),
        (&key, own.cert.pem().into_bytes(), "a certificate, and no private key"),
        (&key, own.signing_key.serialize_der(), "openssl pkey -inform der"),
        (
            &key,
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_vec(),
            "is encrypted",
        ),
    ] {
        std::fs::write(path("file"), content).unwrap();
        let text = complaint(directory.path(), config.replace("FILE", "file").as_bytes());
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[test]
fn files_of_the_command_line_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &format!("{USABLE}client_secret = 'a'\n"));
    let folder = directory.path().to_str().unwrap();
    for option in ["--cookies", "--jwks"] {
        for (path, words) in [("no/such", "its directory `no` does not exist"), (folder, "it is a directory")]
        {
            let output =
                portcullis(&["explain", "--config", &file, "GET", "http://shop.localhost/", option, path]);
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{text}");
            assert!(text.contains(option) && text.contains(path) && text.contains(words), "{text}");
        }
    }
}

/// As documented: 64, and nothing was started.
#[test]
fn a_wrong_command_line_has_its_exit_code() {
    for arguments in [
        &["serve"][..],
        &["chekc"],
        &["check", "--confg", "gateway.toml"],
        &["--config"],
        &["--nonsense"],
        &["check", "gateway.toml"],
        &["explain"],
        &["explain", "GET"],
        &["explain", "GET", "http://store.localhost/", "--jwks"],
        &["explain", "GE T", "http://store.localhost/"],
        &["explain", "GET", "store.localhost/"],
        &["doctor", "--username"],
        &["healthcheck", "--reddy"],
        &["run", "--config", "gateway.toml", "--config", "gateway.toml"],
        &["run", "run"],
    ] {
        let output = portcullis(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {text}");
        assert!(text.starts_with("error: ") && output.stdout.is_empty(), "{arguments:?}: {text}");
    }
    for arguments in [&["--help"][..], &["--version"], &["help"], &["check", "--help"], &["help", "explain"]]
    {
        let output = portcullis(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_is_there_twice_is_named_with_both_lines() {
    let directory = tempfile::tempdir().unwrap();
    let usable = format!("# shop\n{USABLE}");
    // The tables are on lines 2 and 4, `hosts` is on line 5.
    let table = "this table is there twice: on line";
    let key = "this key is there twice: on line";
    for (rest, name, message) in [
        ("[apps.shop]\nclient_id = 'x'\n", "apps.shop", format!("{table} 4, and again on line 8")),
        ("[ apps . \"shop\" ] # again\n", "apps.shop", format!("{table} 4, and again on line 8")),
        ("[identity_providers.main]\n", "identity_providers.main", format!("{table} 2, and again on line 8")),
        ("[server]\n[session]\n\n[server]\n", "server", format!("{table} 8, and again on line 11")),
        (
            "[apps.shop.login]\n[apps.shop.login]\n",
            "apps.shop.login",
            format!("{table} 8, and again on line 9"),
        ),
        (
            "login.path = '/a'\n[apps.shop.login]\n",
            "apps.shop.login",
            format!("{table} 8, and again on line 9"),
        ),
        (
            "login = { path = '/a' }\n[apps.shop.login]\n",
            "apps.shop.login",
            format!("{table} 8, and again on line 9"),
        ),
        ("[apps.shop.hosts]\n", "apps.shop.hosts", format!("{table} 5, and again on line 8")),
        ("[[apps.shop]]\n", "apps.shop", format!("{table} 4, and again on line 8")),
        ("[[apps.shop.hosts]]\n", "apps.shop.hosts", format!("{table} 5, and again on line 8")),
        ("hosts = ['b']\n", "apps.shop.hosts", format!("{key} 5, and again on line 8")),
        ("\"hosts\" = ['b']\n", "apps.shop.hosts", format!("{key} 5, and again on line 8")),
        (
            "login.path = '/a'\nlogin.path = '/b'\n",
            "apps.shop.login.path",
            format!("{key} 8, and again on line 9"),
        ),
        ("[apps]\nshop.hosts = ['b']\n", "apps.shop", format!("{key} 4, and again on line 9")),
        (
            "[[apps.shop.routes]]\npath = '/a'\n[[apps.shop.routes]]\npath = '/b'\npath = '/c'\n",
            "apps.shop.routes.path",
            format!("{key} 11, and again on line 12"),
        ),
        (
            "user.claims = [\n  'sub', # [apps.other]\n  'email',\n]\nclient_id = 'b'\n",
            "apps.shop.client_id",
            format!("{key} 7, and again on line 12"),
        ),
        (
            "cookies = { secure = true, secure = true }\n",
            "secure",
            String::from("this key is there twice in one inline table on line 8"),
        ),
    ] {
        let text = complaint(directory.path(), format!("{usable}{rest}").as_bytes());
        let first = format!("error: `{name}`: {message}\n");
        let line = message.rsplit(' ').next().unwrap();
        assert!(
            text.starts_with(&first) && text.contains(&format!("gateway.toml:{line}\n")),
            "{first}{text}"
        );
        let windows = complaint(directory.path(), format!("{usable}{rest}").replace('\n', "\r\n").as_bytes());
        assert!(windows.starts_with(&first), "{first}{windows}");
    }
}

/// The warnings of `check`, each in one line.
fn warnings(directory: &Path, text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let file = write(directory, text);
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["check", "--config", &file])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found = text.split("\nwarning: ").skip(1);
    found.map(|warning| warning.split("\n\n").next().unwrap().replace('\n', " ")).collect()
}

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
        let sealed =
            format!("session.seal_keys = [\"{secret}\"]\n{USABLE}client_secret = {{ env = \"PATH\" }}\n");
        let refused = complaint(directory.path(), sealed.as_bytes());
        assert!(refused.contains(words) && refused.contains("openssl rand -base64 32"), "{refused}");
    }
    let named = format!("{USABLE}client_secret = {{ env = \"${{PATH}}\" }}\n");
    assert!(complaint(directory.path(), named.as_bytes()).contains("without `$` and braces"));
    let real = format!("{USABLE}client_secret = {{ env = \"PATH\" }}\n");
    assert!(warnings(directory.path(), &real, &[("PATH", "s3cr3t$and%more")]).is_empty());
}

#[test]
fn a_variable_anywhere_else_is_said_not_to_be_expanded() {
    let directory = tempfile::tempdir().unwrap();
    let usable = format!("{USABLE}client_secret = {{ env = \"PATH\" }}\n");
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
fn an_admin_listener_for_everybody_is_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let usable = format!("{USABLE}client_secret = {{ env = \"PATH\" }}\n");
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

/// Mistakes of newcomers whose first message did not say enough.
#[test]
fn what_newcomers_write_is_answered_with_what_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let usable = format!("{USABLE}client_secret = {{ env = \"PATH\" }}\n");
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
    let empty = write(directory.path(), &usable.replace("PATH", "MESSAGES_EMPTY"));
    let mut check = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let output = check.args(["check", "--config", &empty]).env("MESSAGES_EMPTY", "").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("variable `MESSAGES_EMPTY` is empty"));
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
    let file = write(directory.path(), &usable);
    for (url, words) in [
        ("shop.localhost/cart", &["write it as a browser has it", "https://"][..]),
        ("http://store.localhost/cart", &["compare with `hosts` of the apps: shop.localhost"]),
    ] {
        let output = portcullis(&["explain", "--config", &file, "GET", url]);
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
    }
}

/// JSONPath, JSON pointers, indexes, a namespaced claim, roles in one string: valid as they stand, and never what was meant.
#[test]
fn claims_and_roles_in_another_notation_are_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let usable = format!("{USABLE}client_secret = {{ env = \"PATH\" }}\n");
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

#[test]
fn an_address_that_cannot_be_listened_on_says_what_helps() {
    let directory = tempfile::tempdir().unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let usable = format!("{USABLE}client_secret = {{ env = \"PATH\" }}\n");
    for (address, words) in [
        (held.local_addr().unwrap().to_string(), "`ss -ltnp` names it"),
        (String::from("192.0.2.55:8080"), "`0.0.0.0` for all"),
    ] {
        let file = write(
            directory.path(),
            &format!("server.listen = ['{address}']\nserver.admin_listen = false\n{usable}"),
        );
        let output = portcullis(&["run", "--config", &file]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains(&address) && told.contains("`server.listen`") && told.contains(words),
            "{told}"
        );
    }
}

#[test]
fn check_says_how_many_connections_fit_where_it_runs() {
    let check = |limit: &str| {
        let script = format!("ulimit {limit}; exec \"$0\" check --config gateway.toml");
        let program = env!("CARGO_BIN_EXE_portcullis");
        let output = Command::new("sh").args(["-c", &script, program]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = check("-n 1024");
    for words in ["note: `server.limits.max_connections`", "20000", "1024", "`ulimit -n`", "`LimitNOFILE`"] {
        assert!(text.contains(words), "{words} in {text}");
    }
    // It is of this machine, not of the file.
    assert!(text.ends_with("the configuration is valid, with 3 warnings\n"), "{text}");
    // A start raises the soft limit, so that is none.
    let with_low_soft_limit = check("-S -n 300");
    assert!(!with_low_soft_limit.contains("300 file descriptors"), "{with_low_soft_limit}");
}
