//! Browsers that ask without pause while a gateway changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use crate::support::{Browser, Request, patiently};

/// Browsers that ask without pause until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tabs: JoinSet<(usize, usize)>,
}

impl Load {
    /// Each asks for a path that needs a session, and fails the test on anything but 200.
    pub(crate) fn start(browsers: Vec<Browser>) -> Self {
        Self::run(browsers, "keep-alive", false)
    }

    /// The same with a connection for each request.
    pub(crate) fn with_fresh_connections(browsers: Vec<Browser>) -> Self {
        Self::run(browsers, "close", false)
    }

    /// The same until nobody listens any more.
    pub(crate) fn until_refused(browsers: Vec<Browser>) -> Self {
        Self::run(browsers, "keep-alive", true)
    }

    fn run(browsers: Vec<Browser>, connection: &'static str, until_refused: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tabs = JoinSet::new();
        for mut browser in browsers {
            let stop = Arc::clone(&stop);
            tabs.spawn(async move {
                let mut requests = 0;
                while !stop.load(Ordering::SeqCst) {
                    let request = Request::get("/api/cart").header("Connection", connection);
                    let answer = match browser.try_send(&request).await {
                        Some(answer) => answer,
                        None if until_refused => break,
                        None => panic!("nobody listens"),
                    };
                    answer.assert_status(200);
                    assert!(answer.seen_by_app("x-auth-user").is_some());
                    requests += 1;
                }
                (requests, browser.connections)
            });
        }
        Self { stop, tabs }
    }

    /// Requests and connections of all of them.
    pub(crate) async fn stop(mut self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        let mut sum = (0, 0);
        while let Some(tab) = patiently("the load's end", self.tabs.join_next()).await {
            let (requests, connections) = tab.expect("no failed request");
            sum = (sum.0 + requests, sum.1 + connections);
        }
        sum
    }
}
