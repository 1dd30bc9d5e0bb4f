//! The 101 of a WebSocket has one meaning, as every other head.

use crate::support::{Reply, World, patiently};

const HANDSHAKE: &str = "GET /open/socket HTTP/1.1\r\nHost: store.localhost\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n\
     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_101_of_a_web_socket_has_one_meaning_too() {
    let world = World::start().await;
    let ask = async |answer: String| {
        world.store.on("/open/socket", Reply::Raw(answer.into_bytes()));
        let mut wire = world.browser().open().await;
        wire.send(HANDSHAKE).await.unwrap();
        let head = patiently("an answer", wire.head()).await.unwrap().expect("a head");
        (head, wire)
    };
    let switch = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n";
    for fields in [
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: WebSocket\r\nConnection: close, Sec-WebSocket-Accept\r\nConnection: upgrade\r\n",
        "Upgrade: websocket\r\nConnection: upgrade, X-Hop\r\nX-Hop: 1\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\n",
        "Upgrade: websocket\r\nTransfer-Encoding: chunked\r\nProxy-Connection: x\r\nTrailer: x\r\nTE: x\r\n",
    ] {
        let (head, mut wire) = ask(format!("{switch}{fields}\r\nRAW")).await;
        assert_eq!(head.status(), 101, "{fields:?}");
        let names: Vec<_> = head.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        let ours = ["connection", "sec-websocket-accept", "upgrade", "x-request-id"];
        assert!(names.iter().all(|name| ours.contains(&name.as_str())), "{fields:?}: {names:?}");
        assert_eq!(head.get("Connection"), Some("Upgrade"), "{fields:?}");
        assert_eq!(head.get("Upgrade"), Some("websocket"), "{fields:?}");
        assert_eq!(head.get("Sec-WebSocket-Accept"), Some("x"), "{fields:?}");
        while wire.buffer.len() < 3 {
            assert!(patiently("what follows", wire.fill()).await.unwrap(), "{fields:?}");
        }
        assert_eq!(wire.buffer, b"RAW", "{fields:?}");
    }
    let other =
        "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2, 2\r\n\r\nok";
    let (head, _) = ask(other.into()).await;
    assert_eq!((head.status(), head.get("upgrade"), head.get("content-length")), (200, None, Some("2")));
    for answer in [
        format!("{switch}\r\n"),
        format!("{switch}Upgrade: h2c\r\n\r\n"),
        format!("{switch}Upgrade: websocket\r\nUpgrade: websocket\r\n\r\n"),
        format!("{switch}Upgrade: websocket\r\nContent-Length: 2, 3\r\n\r\n"),
        "HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            .into(),
        "HTTP/1.1 700 OK\r\nContent-Length: 2\r\n\r\nok".into(),
    ] {
        let (head, _) = ask(answer.clone()).await;
        assert_eq!(head.status(), 502, "{answer:?}");
    }
}
