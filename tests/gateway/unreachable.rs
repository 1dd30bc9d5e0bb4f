//! Apps and identity providers that cannot be connected to: the log and `doctor` say why, and which key helps.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, IsCa, KeyPair, PKCS_ED25519, date_time_ymd};
use tokio::process::Command;

use crate::binary::Program;
use crate::support::certificates::{Authority, terminator};
use crate::support::listening::Listening;
use crate::support::port::Port;
use crate::support::{Browser, World, patiently};

/// A way in which something cannot be connected to.
struct Case {
    /// Its URL.
    url: String,
    /// What is said of a provider, and of an app.
    words: [&'static [&'static str]; 2],
}

/// Everything that goes wrong before a request is sent. What keeps the sockets is returned, too.
async fn cases(authority: &Authority, to: SocketAddr) -> (Vec<Case>, [Listening; 2], Port) {
    authority.certify("good", &["127.0.0.1"]);
    authority.certify("other", &["other.example"]);
    authority.certify_with("old", &["127.0.0.1"], |params| params.not_after = date_time_ymd(2001, 1, 1));
    authority.certify_with("early", &["127.0.0.1"], |params| params.not_before = date_time_ymd(2099, 1, 1));
    authority.certify_with("authority", &["127.0.0.1"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let (stranger, successor) = (Authority::named("stranger"), Authority::new());
    stranger.certify("stranger", &["127.0.0.1"]);
    successor.certify("successor", &["127.0.0.1"]);
    let mut cases = Vec::new();
    for (file, words) in [
        (
            "other",
            [
                &["for other names", "other.example", "`issuer`"][..],
                &["for other names", "upstream_tls.server_name"],
            ],
        ),
        ("old", [&["has expired", "renew it"], &["has expired", "renew it"]]),
        ("early", [&["not valid yet", "clock"], &["not valid yet", "clock"]]),
        ("authority", [&["CA:TRUE", "the provider's `ca`"], &["CA:TRUE", "`upstream_tls.ca`"]]),
    ] {
        cases.push(Case { url: format!("https://{}", terminator(authority, file, to).await), words });
    }
    let unknown = terminator(&stranger, "stranger", to).await;
    cases.push(Case {
        url: format!("https://{unknown}"),
        words: [
            &["an authority that is not trusted", "the provider's `ca`"],
            &["not trusted", "`upstream_tls.ca`"],
        ],
    });
    // As when somebody has made the authority anew, maybe with a key of another kind.
    let other_kind = Authority::with_key("", KeyPair::generate_for(&PKCS_ED25519).expect("a key"));
    other_kind.certify("successor", &["127.0.0.1"]);
    for successor in [&successor, &other_kind] {
        let renewed = terminator(successor, "successor", to).await;
        cases.push(Case {
            url: format!("https://{renewed}"),
            words: [
                &["another authority of the same name", "the provider's `ca`"],
                &["same name", "`upstream_tls.ca`"],
            ],
        });
    }
    let plain = Listening::start(|mut wire, _| async move {
        let _ = wire.fill().await;
        let _ = wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    });
    let plain = plain.await;
    cases.push(Case {
        url: format!("https://{}", plain.address()),
        words: [&["does not speak TLS", "http://"]; 2],
    });
    let silent = Listening::start(|wire, _| async move {
        let _open = wire;
        std::future::pending::<()>().await;
    });
    let silent = silent.await;
    cases.push(Case {
        url: format!("https://{}", silent.address()),
        words: [
            &["no connection in time", "`connect_timeout`"],
            &["no connection in time", "`timeouts.connect`"],
        ],
    });
    let closed = Port::reserve();
    cases.push(Case {
        url: format!("http://{}", closed.address()),
        words: [&["connection refused", "start the provider"], &["connection refused", "start the app"]],
    });
    (cases, [plain, silent], closed)
}

/// How long is waited for a connection: where none comes, not for long.
fn patience(words: &[&str]) -> &'static str {
    if words.contains(&"no connection in time") { "300ms" } else { "20s" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_doctor_say_why_a_provider_cannot_be_reached() {
    let authority = Authority::new();
    let behind = World::builder().await;
    let (mut cases, _open, _closed) = cases(&authority, behind.provider.listening().address()).await;
    cases.push(Case {
        url: String::from("https://no-such-host.invalid"),
        words: [&["cannot be resolved", "DNS"], &["cannot be resolved", "DNS"]],
    });
    let good = terminator(&authority, "good", behind.provider.listening().address()).await;
    cases.push(Case { url: format!("http://{good}"), words: [&["does not answer in HTTP", "https://"]; 2] });
    for Case { url, words: [words, _] } in cases {
        let settings = format!(
            "[identity_providers.main]\nissuer = '{url}'\nca = '{}'\nconnect_timeout = '{}'\nrequest_timeout = '30s'\n",
            authority.ca(),
            patience(words)
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        let builder = World::builder().await.lay_over(&settings);
        std::fs::write(&file, builder.text()).unwrap();
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let output = doctor.args(["doctor", "--config"]).arg(&file).output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let finding = text.split("error    ").nth(1).unwrap_or_else(|| panic!("no error in {text}"));
        assert!(finding.starts_with("identity_providers.main: discovery at "), "{text}");
        assert!(words.iter().all(|word| finding.contains(word)), "{url}: {words:?} in {text}");
        assert_eq!(output.status.code(), Some(1));

        let (program, _builder) = Program::start_unready_quietly(builder).await;
        let wanted = [&["WARN", "discovery failed"], words].concat();
        program.logged(&wanted).await;
        drop(program.end().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_why_an_app_cannot_be_reached() {
    let authority = Authority::new();
    let behind = World::builder().await;
    let (cases, _open, _closed) = cases(&authority, behind.store.listening().address()).await;
    for Case { url, words: [_, words] } in cases {
        let settings = format!(
            "[apps.store]\nupstreams = ['{url}']\n[apps.store.timeouts]\nconnect = '{}'\n\
             [apps.store.upstream_tls]\nca = '{}'\n",
            patience(words),
            authority.ca()
        );
        let (program, _builder) = Program::start_quietly(World::builder().await.lay_over(&settings)).await;
        let answer =
            patiently("an answer", async { Browser::new(program.address, "store.localhost").get("/").await })
                .await;
        assert!(matches!(answer.status(), 502 | 504), "{url}: {}", answer.status());
        let wanted = [&["WARN", "cannot connect to the app"], words].concat();
        program.logged(&wanted).await;
        drop(program.end().await);
    }
}
