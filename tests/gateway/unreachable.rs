//! Apps and identity providers that cannot be connected to: the log and `doctor` say why, and which key helps.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, IsCa, KeyPair, PKCS_ED25519, date_time_ymd};
use tokio::process::Command;

use crate::support::certificates::{Authority, terminator};
use crate::support::listening::Listening;
use crate::support::port::Port;
use crate::support::program::Program;
use crate::support::{Browser, World, patiently};

/// Words of a message.
type Words = &'static [&'static str];

/// A way in which something cannot be connected to.
struct Case {
    url: String,
    /// The words about a provider, and those about an app.
    words: [Words; 2],
}

/// Everything that fails before a request is sent, and what keeps its sockets.
struct Failing {
    cases: Vec<Case>,
    _sockets: ([Listening; 2], Port),
}

impl Failing {
    /// `to` is what stands behind the ends of TLS.
    async fn start(authority: &Authority, to: SocketAddr) -> Self {
        let mut cases = unusable_certificates(authority, to).await;
        cases.extend(untrusted_authorities(to).await);
        let plain = Listening::start(|mut wire, _| async move {
            let _ = wire.fill().await;
            let _ = wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        })
        .await;
        let silent = Listening::start(|wire, _| async move {
            let _open = wire;
            std::future::pending::<()>().await;
        })
        .await;
        let closed = Port::reserve();
        let timed_out: [Words; 2] = [
            &["no connection in time", "`connect_timeout`"],
            &["no connection in time", "`timeouts.connect`"],
        ];
        let refused: [Words; 2] =
            [&["connection refused", "start the provider"], &["connection refused", "start the app"]];
        cases.extend([
            Case { url: https(plain.address()), words: [&["does not speak TLS", "http://"]; 2] },
            Case { url: https(silent.address()), words: timed_out },
            Case { url: format!("http://{}", closed.address()), words: refused },
        ]);
        Self { cases, _sockets: ([plain, silent], closed) }
    }
}

fn https(address: SocketAddr) -> String {
    format!("https://{address}")
}

/// Certificates that are of the right authority, and cannot be used.
async fn unusable_certificates(authority: &Authority, to: SocketAddr) -> Vec<Case> {
    authority.certify("other", &["other.example"]);
    authority.certify_with("old", &["127.0.0.1"], |params| params.not_after = date_time_ymd(2001, 1, 1));
    authority.certify_with("early", &["127.0.0.1"], |params| params.not_before = date_time_ymd(2099, 1, 1));
    authority.certify_with("authority", &["127.0.0.1"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let other: [Words; 2] =
        [&["for other names", "other.example", "`issuer`"], &["for other names", "upstream_tls.server_name"]];
    let mut cases = Vec::new();
    for (file, words) in [
        ("other", other),
        ("old", [&["has expired", "renew it"]; 2]),
        ("early", [&["not valid yet", "clock"]; 2]),
        ("authority", [&["CA:TRUE", "the provider's `ca`"], &["CA:TRUE", "`upstream_tls.ca`"]]),
    ] {
        cases.push(Case { url: https(terminator(authority, file, to).await), words });
    }
    cases
}

/// Certificates of authorities that are not trusted.
async fn untrusted_authorities(to: SocketAddr) -> Vec<Case> {
    let unknown: [Words; 2] =
        [&["an authority that is not trusted", "the provider's `ca`"], &["not trusted", "`upstream_tls.ca`"]];
    let renewed: [Words; 2] =
        [&["another authority of the same name", "the provider's `ca`"], &["same name", "`upstream_tls.ca`"]];
    let stranger = Authority::named("stranger");
    // Somebody may have made the authority anew, maybe with a key of another kind.
    let successor = Authority::new();
    let other_kind = Authority::with_key("", KeyPair::generate_for(&PKCS_ED25519).expect("a key"));
    let mut cases = Vec::new();
    for (authority, words) in [(stranger, unknown), (successor, renewed), (other_kind, renewed)] {
        authority.certify("untrusted", &["127.0.0.1"]);
        cases.push(Case { url: https(terminator(&authority, "untrusted", to).await), words });
    }
    cases
}

/// Returns how long to wait for a connection. Where none comes, that is not long.
fn patience(words: &[&str]) -> &'static str {
    if words.contains(&"no connection in time") { "300ms" } else { "20s" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_doctor_say_why_a_provider_cannot_be_reached() {
    let authority = Authority::new();
    let behind = World::builder().await;
    let mut failing = Failing::start(&authority, behind.provider.listening().address()).await;
    failing.cases.push(Case {
        url: String::from("https://no-such-host.invalid"),
        words: [&["cannot be resolved", "DNS"], &["cannot be resolved", "DNS"]],
    });
    authority.certify("good", &["127.0.0.1"]);
    let good = terminator(&authority, "good", behind.provider.listening().address()).await;
    let words = [&["does not answer in HTTP", "https://"] as Words; 2];
    failing.cases.push(Case { url: format!("http://{good}"), words });
    for Case { url, words: [words, _] } in &failing.cases {
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
        let wanted = [&["WARN", "discovery failed"][..], words].concat();
        program.logged(&wanted).await;
        drop(program.end().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_why_an_app_cannot_be_reached() {
    let authority = Authority::new();
    let behind = World::builder().await;
    let failing = Failing::start(&authority, behind.store.listening().address()).await;
    for Case { url, words: [_, words] } in &failing.cases {
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
        let wanted = [&["WARN", "cannot connect to the app"][..], words].concat();
        program.logged(&wanted).await;
        drop(program.end().await);
    }
}
