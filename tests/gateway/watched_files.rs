//! `server.watch_config` looks at every file that the configuration was read from, whatever it is for.

use std::path::{Path, PathBuf};

use crate::support::certificates::{Authority, terminator};
use crate::support::program::Program;
use crate::support::{Browser, NEXT_SEAL_KEY, SEAL_KEY, World, patiently};

/// Waits until so many configurations have been taken.
async fn generation(program: &Program, number: u64) {
    patiently(&format!("generation {number}"), async {
        while program.metric("portcullis_config_generation").await < number {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}

/// A configuration that names every file that it can name. They are in the directory `FOLDER`.
const NAMING_FILES: &str = "[server]\nwatch_config = true\nadmin_token = { file = 'FOLDER/admin_token' }\n\
     [server.tracing]\notlp_endpoint = 'https://127.0.0.1:9'\nca = 'FOLDER/collector_ca'\nheaders = { X-Key = { file = 'FOLDER/collector_key' } }\n\
     [session]\nseal_keys = [{ file = 'FOLDER/seal_key' }]\n\
     [apps.store]\nclient_secret = { file = 'FOLDER/store_secret' }\nidentity_provider = 'main'\n\
     [apps.forums]\nidentity_provider = 'main'\n\
     [apps.store.upstream_tls]\nca = 'FOLDER/app_ca'\n\
     [identity_providers.main]\nca = 'FOLDER/provider_ca'\n\
     [identity_providers.other]\nkind = 'fusionauth'\nissuer = 'http://127.0.0.1:9'\nalgorithms = ['HS256']\nhmac_secret = { file = 'FOLDER/hmac' }\n\
     [apps.other]\nidentity_provider = 'other'\nhosts = ['other.localhost']\nupstreams = ['http://127.0.0.1:9']\nclient_id = 'other'\nclient_secret = { file = 'FOLDER/store_secret' }\n\
     [apps.other.fusionauth_webhook]\npath = '/hook'\nhmac_secret = { file = 'FOLDER/hook' }\n";

/// A file, the key that names it, its first content and its second.
type File = (&'static str, &'static str, String, String);

/// Returns every file that a configuration can name.
fn files() -> Vec<File> {
    let (first, second) = (Authority::new(), Authority::new());
    let ca = |authority: &Authority| std::fs::read_to_string(PathBuf::from(authority.ca())).unwrap();
    vec![
        ("admin_token", "server.admin_token", "admin-token-number-1".into(), "admin-token-number-2".into()),
        ("seal_key", "session.seal_keys[0]", SEAL_KEY.into(), NEXT_SEAL_KEY.into()),
        ("store_secret", "apps.store.client_secret", "one".into(), "two".into()),
        ("provider_ca", "identity_providers.main.ca", ca(&first), ca(&second)),
        ("app_ca", "apps.store.upstream_tls.ca", ca(&first), ca(&second)),
        ("collector_ca", "server.tracing.ca", ca(&first), ca(&second)),
        ("collector_key", "server.tracing.headers.X-Key", "u".repeat(32), "v".repeat(32)),
        ("hmac", "identity_providers.other.hmac_secret", "q".repeat(32), "r".repeat(32)),
        ("hook", "apps.other.fusionauth_webhook.hmac_secret", "s".repeat(32), "t".repeat(32)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_any_file_is_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let at = |file: &str| directory.path().join(file);
    let write = |file: &str, text: &str| std::fs::write(at(file), text).unwrap();
    let files = files();
    for (file, _, before, _) in &files {
        write(file, before);
    }
    let toml = NAMING_FILES.replace("FOLDER", directory.path().to_str().unwrap());
    let builder = World::builder().await.lay_over(&toml);
    let (program, _builder) = Program::start_unready_quietly(builder).await;
    for (number, (file, key, _, after)) in (2..).zip(&files) {
        write(file, after);
        generation(&program, number).await;
        program.logged(&["configuration changed", key]).await;
        // By another file in its place, as a ConfigMap is changed.
        let next = at("next");
        std::fs::write(&next, after.clone() + "\n").unwrap();
        std::fs::rename(&next, at(file)).unwrap();
    }
    let log = program.end().await;
    for secret in [
        "admin-token-number",
        SEAL_KEY,
        NEXT_SEAL_KEY,
        "qqqq",
        "rrrr",
        "ssss",
        "tttt",
        "uuuu",
        "vvvv",
        "BEGIN",
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_authority_is_trusted_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let builder = World::builder().await;
    new.certify("store", &["store.internal"]);
    new.certify("provider", &["127.0.0.1"]);
    let store = terminator(&new, "store", builder.store.listening().address()).await;
    let plain = builder.provider.issuer().trim_start_matches("http://").parse().expect("an address");
    let provider = terminator(&new, "provider", plain).await;
    let toml = format!(
        "[server]\nwatch_config = true\n\
         [apps.store]\nupstreams = ['https://{store}']\n[apps.store.upstream_tls]\nca = '{0}'\nserver_name = 'store.internal'\n\
         [identity_providers.main]\nca = '{0}'\ntoken_endpoint = 'https://{provider}/token'\n\
         jwks_uri = 'https://{provider}/jwks'\nrevocation_endpoint = 'https://{provider}/revoke'\n",
        old.ca()
    );
    let (program, _builder) = Program::start_unready_quietly(builder.lay_over(&toml)).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.get("/open/x").await.assert_problem(502, "upstream_unavailable");
    old.write("ca.pem", &std::fs::read_to_string(new.ca()).unwrap());
    generation(&program, 2).await;
    patiently("the renewed authority", async {
        while browser.get("/open/x").await.status() != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    browser.log_in("ada").await;
    browser.get("/api/cart").await.assert_status(200);
}

/// Replaces the program's configuration by itself with more.
fn extend(program: &Program, more: &str) {
    let path = program.file("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text + more).unwrap();
}

const REFUSALS: &str = "portcullis_config_reloads_refused_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_configuration_is_taken_once_its_files_are_there() {
    let authority = Authority::new();
    let ca = std::fs::read_to_string(authority.ca()).unwrap();
    let app = |name: &str, more: &str| {
        format!(
            "\n[apps.{name}]\nhosts = ['{name}.localhost']\nupstreams = ['https://127.0.0.1:9']\nclient_id = '{name}'\n{more}"
        )
    };
    let builder = World::builder().await.lay_over("[server]\nwatch_config = true\n");
    let (program, _builder) = Program::start_unready_quietly(builder).await;
    // First the file that names others, then the others.
    let cases: [(&str, String, &str); 2] = [
        ("late_secret", app("one", "client_secret = { file = 'late_secret' }\n"), "late"),
        ("late_ca", app("two", "client_secret = 'x'\n[apps.two.upstream_tls]\nca = 'late_ca'\n"), &ca),
    ];
    for (number, (file, more, text)) in (2..).zip(cases) {
        extend(&program, &more);
        program.logged(&["configuration:", file, "cannot be read"]).await;
        let before = program.metric(REFUSALS).await;
        std::fs::write(program.file(file), text).unwrap();
        generation(&program, number).await;
        assert_eq!(program.metric(REFUSALS).await, before, "one refusal is said once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_needs_no_secret() {
    let builder = World::builder().await;
    let (program, _builder) = Program::start_quietly(builder).await;
    let healthcheck = async |file: &Path, arguments: &[&str]| {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("healthcheck")
            .arg("--config")
            .arg(file)
            .args(arguments)
            .output()
            .await
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // In the environment of `docker exec` there are none of its secrets, and not all of its files.
    let text = std::fs::read_to_string(program.file("gateway.toml")).unwrap();
    let poor = text
        .replace("'store-secret'", "{ env = 'PORTCULLIS_TESTS_HAVE_NO_SUCH' }")
        .replace("\"store-secret\"", "{ env = 'PORTCULLIS_TESTS_HAVE_NO_SUCH' }")
        .replace("\"forums-secret\"", "{ file = '/no/such/secret' }");
    assert_eq!(poor.matches("no/such").count() + poor.matches("NO_SUCH").count(), 2, "{poor}");
    let file = program.file("poor.toml");
    std::fs::write(&file, &poor).unwrap();
    for arguments in [&[][..], &["--ready"]] {
        assert_eq!(healthcheck(&file, arguments).await, (Some(0), String::new()), "{arguments:?}");
    }
    // What it needs is still told.
    let admin = format!("\"{}\"", program.admin);
    for (replacement, code, words) in [
        ("\"nowhere\"", 64, &["`server.admin_listen`", "nowhere"][..]),
        ("7", 64, &["`server.admin_listen`"]),
        ("false", 1, &["`server.admin_listen` is off"]),
        ("\"127.0.0.1:9\"", 1, &["cannot ask `127.0.0.1:9`"]),
        ("\"127.0.0.1:0\"", 1, &["`server.admin_listen`", "port"]),
        ("= =", 64, &["not TOML"]),
    ] {
        std::fs::write(&file, poor.replace(&admin, replacement)).unwrap();
        let (found, said) = healthcheck(&file, &[]).await;
        assert_eq!(found, Some(code), "{replacement}: {said}");
        for word in words {
            assert!(said.contains(word), "{replacement}: {said}");
        }
    }
    let (found, said) = healthcheck(&program.file("none.toml"), &[]).await;
    assert_eq!(found, Some(64), "{said}");
    assert!(said.contains("cannot be read"), "{said}");
}
