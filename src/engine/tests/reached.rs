//! Users with few rights, TLS and Sentinel.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::server::{Server, free_port, wait_until};
use super::*;
use crate::config::{Authorities, Secret};
use crate::engine::commands::{Bucket, Settled};

/// The ACL that `docs/operations.md` gives.
const ACL: &str = "~{portcullis}* &{portcullis}* +evalsha +eval +script|load +info +time +hget +hmget +hset +pexpire \
                   +exists +del +get +set +publish +subscribe +xadd +xread +xrange +xtrim +wait +ping +hello \
                   +client|setname";

/// Uses every operation.
async fn use_all(a: &mut Replica) {
    assert_eq!(a.settled_verdict(&claiming(&[1, 2], "n")).await, Verdict::Mine);
    a.engine
        .assert(&Assertion { message: b"m".to_vec(), ..assertion(&[1, 2], RecordState::Ended) })
        .await
        .unwrap();
    a.until(|event| *event == EngineEvent::Message(b"m".to_vec())).await;
    a.engine.look(&names(&[1])).await.unwrap();
    a.engine.shorten(&names(&[1]), "", Duration::from_secs(1)).await.unwrap();
    a.engine.forget_end(&names(&[1, 2])).await.unwrap();
    a.engine.release(&names(&[1, 2]), "n").await.unwrap();
    a.engine.publish(b"p").await.unwrap();
    a.engine.add_revocations(&[b"r".to_vec()], Duration::from_secs(60)).await.unwrap();
    a.until(|event| *event == EngineEvent::Revocations(vec![b"r".to_vec()])).await;
    a.engine.is_first_of_generation(&Generation(String::from("g"))).await.unwrap();
    let buckets = [Bucket { name: names(&[1])[0], leak: Duration::from_secs(5), most: 5 }];
    a.engine.reserve(&buckets).await.unwrap();
    a.engine.settle(&buckets, Settled::Failed).await.unwrap();
    a.engine.take_turn(&names(&[1])[0], "x", Duration::from_secs(1)).await.unwrap();
    a.engine.give_turn(&names(&[1])[0], "x").await.unwrap();
    let generation = a.engine.generation.borrow().clone();
    assert!(generation.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_exactly_the_rights_of_the_documents() {
    let server = Server::start(&[]);
    let set: Vec<_> =
        ["ACL", "SETUSER", "gateway", "on", ">secret"].into_iter().chain(ACL.split(' ')).collect();
    server.ask(&set);
    let mut settings = settings(server.port);
    settings.username = Some(String::from("gateway"));
    settings.password = Some(Secret::new("secret"));
    let mut a = Replica::connected(&settings, "a").await;
    use_all(&mut a).await;
    assert_eq!(a.engine.facts().complaint, None);
    assert_eq!(server.ask(&["ACL", "LOG"]), "array([])", "nothing else was tried");
    assert!(server.ask(&["CLIENT", "LIST"]).contains("name=portcullis-a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_right_are_refusals() {
    let server = Server::start(&["--requirepass", "secret"]);
    let refused = |event: EngineEvent, part: &str| match event {
        EngineEvent::Disconnected(EngineError::Refused(text)) => assert!(text.contains(part), "{text}"),
        other => panic!("{other:?}"),
    };
    let is_disconnected = |event: &EngineEvent| matches!(event, EngineEvent::Disconnected(_));
    let mut a = Replica::start(&settings(server.port), "a");
    refused(a.until(is_disconnected).await, "password");
    let mut wrong = settings(server.port);
    wrong.password = Some(Secret::new("wrong"));
    let mut b = Replica::start(&wrong, "b");
    refused(b.until(is_disconnected).await, "password");
    assert!(b.engine.facts().complaint.as_ref().unwrap().contains("password"));

    let server = Server::start(&[]);
    let few: Vec<_> = ["ACL", "SETUSER", "few", "on", ">secret"].into_iter().chain(ACL.split(' ')).collect();
    server.ask(&few);
    let mut few = settings(server.port);
    few.username = Some(String::from("few"));
    few.password = Some(Secret::new("secret"));
    for right in ["time", "xread", "subscribe", "info", "set"] {
        server.ask(&["ACL", "SETUSER", "few", &format!("-{right}")]);
        let mut c = Replica::start(&few, "c");
        refused(c.until(is_disconnected).await, "ACL");
        assert!(c.engine.facts().complaint.is_some(), "{right}");
        server.ask(&["ACL", "SETUSER", "few", &format!("+{right}")]);
        c.until(|event| matches!(event, EngineEvent::Connected { .. })).await;
        assert_eq!(c.engine.facts().complaint, None, "{right}");
    }
}

struct Certificates {
    directory: tempfile::TempDir,
    authority: Vec<u8>,
}

impl Certificates {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![String::from("127.0.0.1"), String::from("localhost")]);
        let certificate = certificate.unwrap().signed_by(&key, &authority).unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(directory.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.path().join("key.pem"), key.serialize_pem()).unwrap();
        let authority = authority.der().to_vec();
        Self { directory, authority }
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let path = |name: &str| self.directory.path().join(name).to_str().unwrap().to_owned();
        let port = port.to_string();
        [
            ["--tls-port", &port],
            ["--tls-cert-file", &path("cert.pem")],
            ["--tls-key-file", &path("key.pem")],
            ["--tls-ca-cert-file", &path("ca.pem")],
            ["--tls-auth-clients", "no"],
        ]
        .concat()
        .into_iter()
        .map(ToOwned::to_owned)
        .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_private_authority() {
    let (certificates, port) = (Certificates::new(), free_port());
    let arguments = certificates.arguments(port);
    let _server = Server::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let mut with_ca = settings(port);
    with_ca.engine.tls = true;
    with_ca.ca = Some(Authorities(vec![certificates.authority.clone()]));
    let mut a = Replica::connected(&with_ca, "a").await;
    use_all(&mut a).await;

    let without_ca = SharedState { ca: None, ..with_ca.clone() };
    let stranger = SharedState { ca: Some(Authorities(vec![Certificates::new().authority])), ..with_ca };
    for settings in [without_ca, stranger] {
        let mut b = Replica::start(&settings, "b");
        match b.until(|event| matches!(event, EngineEvent::Disconnected(_))).await {
            EngineEvent::Disconnected(EngineError::Refused(text)) => assert!(text.contains("TLS"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

fn sentinel(of: &Server, directory: &tempfile::TempDir, port: u16) -> Server {
    let config = directory.path().join(format!("sentinel{port}.conf"));
    let lines = format!(
        "sentinel monitor mymaster 127.0.0.1 {} 1\nsentinel down-after-milliseconds mymaster 500\n\
         sentinel failover-timeout mymaster 2000\n",
        of.port
    );
    std::fs::write(&config, lines).unwrap();
    Server::sentinel_on(port, config.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_lead_to_the_next_primary() {
    let mut primary = Server::start(&[]);
    let copy = Server::copy_of(&primary, &[]);
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let sentinel = sentinel(&primary, &directory, port);
    wait_until("the sentinel knows the copy", || {
        sentinel.ask(&["SENTINEL", "replicas", "mymaster"]).contains(&copy.port.to_string())
    });
    let mut settings = settings(primary.port);
    settings.engine.place = EnginePlace::Sentinel {
        sentinels: vec![(String::from("127.0.0.1"), free_port()), (String::from("127.0.0.1"), port)],
        master: String::from("mymaster"),
    };
    let mut a = Replica::connected(&settings, "a").await;
    assert_eq!(a.engine.facts().address, format!("127.0.0.1:{}", primary.port));
    assert_eq!(a.settled_verdict(&claiming(&[1], "n")).await, Verdict::Mine);
    wait_until("the copy has the claim", || copy.ask(&["EXISTS", &record(1)]).contains('1'));
    primary.kill();
    a.until(|event| matches!(event, EngineEvent::Disconnected(_))).await;
    a.generation().await;
    assert_eq!(a.engine.facts().address, format!("127.0.0.1:{}", copy.port));
    let busy = Verdict::Busy { owner: String::from("a") };
    assert_eq!(a.settled_verdict(&claiming(&[1], "m")).await, busy, "the copy has the claim");
}

fn record(number: u8) -> String {
    format!("{{portcullis}}:r:{}", names(&[number])[0].text())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_knows_less_is_not_believed_for_ever() {
    let (primary, mut dead, directory) =
        (Server::start(&[]), Server::start(&[]), tempfile::tempdir().unwrap());
    let ports = [free_port(), free_port()];
    let _sentinels = (sentinel(&dead, &directory, ports[0]), sentinel(&primary, &directory, ports[1]));
    dead.kill();
    let mut settings = settings(primary.port);
    let sentinels = ports.map(|port| (String::from("127.0.0.1"), port)).to_vec();
    settings.engine.place = EnginePlace::Sentinel { sentinels, master: String::from("mymaster") };
    let a = Replica::connected(&settings, "a").await;
    assert_eq!(a.engine.facts().address, format!("127.0.0.1:{}", primary.port));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_master_is_no_primary() {
    let (primary, directory, port) = (Server::start(&[]), tempfile::tempdir().unwrap(), free_port());
    let _sentinel = sentinel(&primary, &directory, port);
    let mut settings = settings(primary.port);
    settings.engine.place = EnginePlace::Sentinel {
        sentinels: vec![(String::from("127.0.0.1"), port)],
        master: String::from("other"),
    };
    let mut a = Replica::start(&settings, "a");
    match a.until(|event| matches!(event, EngineEvent::Disconnected(_))).await {
        EngineEvent::Disconnected(EngineError::NoAnswer(text)) => assert!(text.contains("other"), "{text}"),
        other => panic!("{other:?}"),
    }
}
