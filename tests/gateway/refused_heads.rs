//! Every refused request, whoever refuses it: it gets an answer where one is possible, a line in the log, and a count.

mod http1;
mod http2;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::frames::{DATA, END_STREAM, Fate, Frames, get, with};
use crate::support::port::Port;
use crate::support::program::Program;
use crate::support::{Browser, HOST, World};

/// A gateway in a process of its own, so that it counts for one test alone.
struct Gateway {
    program: Program,
    tls: SocketAddr,
    authority: Authority,
    _port: Port,
    builder: crate::support::gateway::Builder,
}

async fn gateway(more: &str) -> Gateway {
    let authority = Authority::for_store();
    let port = Port::reserve();
    let tls = port.address();
    let server = authority.server_at(&port, &["store"]);
    let builder = World::builder().await.lay_over(&server);
    let builder = builder.lay_over(&format!("[server.log]\nformat = 'json'\nlevel = 'error'\n{more}"));
    let (program, builder) = Program::start_quietly(builder).await;
    Gateway { program, tls, authority, _port: port, builder }
}

impl Gateway {
    fn browser(&self) -> Browser {
        Browser::new(self.program.address, HOST)
    }

    async fn frames(&self) -> Frames {
        Frames::connect(&self.authority, self.tls, &[]).await
    }

    /// Waits until the heads that were refused are counted as these.
    async fn assert_counted(&self, expected: &BTreeMap<String, usize>) {
        let mut found = BTreeMap::new();
        for _ in 0..200 {
            let metrics = self.program.metrics().await;
            let lines = metrics.lines().filter_map(|line| {
                let line = line.strip_prefix("portcullis_refused_heads_total{reason=\"")?;
                let (reason, count) = line.split_once("\"} ")?;
                Some((reason.to_owned(), count.parse().expect("a number")))
            });
            found = lines.collect();
            if found == *expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(found, *expected);
    }

    /// Ends the gateway and returns all lines of its access log.
    async fn lines(self) -> Vec<Value> {
        let log = self.program.end().await;
        drop(self.builder);
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == "access").collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_refused_is_not_counted_as_such() {
    let gateway = gateway("").await;
    gateway.browser().get("/open/x?a=b;c={|}~^`\\'").await.assert_status(200);
    let mut frames = gateway.frames().await;
    for stream in [1, 3, 5] {
        frames.request(0, stream, &with(vec![(":method", "POST")], &get("/open/x")[1..])).await;
        frames.send(DATA, 0, stream, b"hello").await;
        // Trailers begin as a request does.
        frames.request(END_STREAM, stream, &[("x", "y")]).await;
        assert_eq!(frames.fate(stream).await, Fate::Status(200));
    }
    frames.request(END_STREAM, 7, &get("/open/x?a=b;c={|}~^`\\'")).await;
    assert_eq!(frames.fate(7).await, Fate::Status(200));
    gateway.assert_counted(&BTreeMap::new()).await;
    assert_eq!(gateway.lines().await, Vec::<Value>::new());
}
