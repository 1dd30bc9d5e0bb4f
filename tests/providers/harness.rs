//! The ground of the tests: a provider as a child process, a gateway in this process with an app behind it, and a
//! browser.

mod browser;
mod direct;
mod gateway;
mod provider;

pub(crate) use browser::{Answer, Browser};
pub(crate) use direct::{Client, form, request};
pub(crate) use gateway::{App, Gateway, Setup};
pub(crate) use provider::{Provider, Shared};

use std::future::Future;
use std::time::Duration;

/// Waits until `check` gives something, and fails after `limit`.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut check: impl FnMut() -> F,
) -> T {
    let waiting = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let Ok(found) = tokio::time::timeout(limit, waiting).await else {
        panic!("not within {limit:?}: {what}");
    };
    found
}
