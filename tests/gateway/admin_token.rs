//! The gateway slows down each address that guesses the admin token, and says so.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::support::client::{receive, request_bytes};
use crate::support::program::Program;
use crate::support::wire::Wire;
use crate::support::{Answer, Browser, Request, World, patiently};

const TOKEN: &str = "an admin token of the tests";

/// Asks for a revocation from an address of this machine.
async fn ask(admin: SocketAddr, from: u8, token: Option<&str>) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0))).unwrap();
    let mut wire = Wire::new(socket.connect(admin).await.expect("it listens"));
    let request = Request::post("/sessions/revoke");
    let request = match token {
        Some(token) => request.header("Authorization", &format!("Bearer {token}")),
        None => request,
    };
    let request = request.json(&json!({"sub": "id-of-nobody"}));
    wire.send(request_bytes(&Browser::new(admin, "localhost"), &request)).await.unwrap();
    patiently("an answer", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_guesses_is_slowed_down_and_nobody_else() {
    let log = "[server.log]\nformat = 'json'\nlevel = 'error'";
    let builder =
        World::builder().await.lay_over(&format!("[server]\nadmin_token = '{TOKEN}'")).lay_over(log);
    let (mut program, _builder) = Program::start_quietly(builder).await;
    let mut guesses = 0;
    let refused = patiently("the end of patience", async {
        loop {
            let wrong = format!("a wrong one, number {guesses}");
            let answer = ask(program.admin, 1, (guesses % 2 == 0).then_some(&wrong)).await;
            if answer.status() != 401 {
                return answer;
            }
            guesses += 1;
        }
    })
    .await;
    assert!((3..=20).contains(&guesses), "{guesses}");
    refused.assert_problem(429, "too_many_attempts");
    let seconds: u64 = refused.header("retry-after").expect("when to come again").parse().unwrap();
    assert!((1..=60).contains(&seconds));
    // Not even the right one, or the guess that is right would be as quick as all others.
    ask(program.admin, 1, Some(TOKEN)).await.assert_problem(429, "too_many_attempts");
    for _ in 0..20 {
        ask(program.admin, 2, Some(TOKEN)).await.assert_status(204);
    }
    // What needs no token goes on.
    let mut probe = Browser::new(program.admin, "localhost");
    probe.get("/readyz").await.assert_status(200);
    let metrics = probe.get("/metrics").await.text();
    for series in [
        format!(r#"portcullis_revocations_total{{outcome="refused",source="revocation"}} {guesses}"#),
        r#"portcullis_revocations_total{outcome="throttled",source="revocation"} 2"#.to_owned(),
        r#"portcullis_revocations_total{outcome="success",source="revocation"} 20"#.to_owned(),
    ] {
        assert!(metrics.lines().any(|line| line == series), "{series}: {metrics}");
    }
    // Its last lines may still be in the queue: they are written before it ends by itself.
    program.signal("TERM").await;
    program.exited().await;
    let log = program.end().await;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let count = |event: &str, reason: &str, client: &str| {
        let is_it =
            |line: &&Value| line["event"] == event && line["reason"] == reason && line["client"] == client;
        lines.iter().filter(is_it).count()
    };
    assert_eq!(count("revocation_refused", "not_authentic", "127.0.0.1"), guesses);
    assert_eq!(count("revocation_refused", "too_many_failed", "127.0.0.1"), 2);
    assert_eq!(count("revocation", "requested", "127.0.0.2"), 20);
    assert!(!log.contains("a wrong one") && !log.contains(TOKEN));
}
