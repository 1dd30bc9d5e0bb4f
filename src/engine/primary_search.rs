//! Finds the server that is the primary now.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::Value;

use crate::config::{EnginePlace, SharedState};
use crate::engine::answers;
use crate::engine::commands::EngineError;
use crate::engine::connection::{Connection, Connector};
use crate::engine::faults::Fault;

/// The longest time that a sentinel takes to answer.
const SENTINEL: Duration = Duration::from_millis(300);

/// Finds the primary.
#[derive(Debug)]
pub(super) struct PrimarySearch {
    place: EnginePlace,
    needs_loopback: bool,
    /// The sentinel that answered last. It is asked first.
    last: AtomicUsize,
}

impl PrimarySearch {
    pub(super) fn new(settings: &SharedState) -> Self {
        let needs_loopback = !settings.engine.tls && !settings.allow_cleartext;
        Self { place: settings.engine.place.clone(), needs_loopback, last: AtomicUsize::new(0) }
    }

    /// Returns the configured place for operators.
    pub(super) fn configured(&self) -> String {
        match &self.place {
            EnginePlace::Single { host, port } => shown(host, *port),
            EnginePlace::Sentinel { sentinels, master } => {
                let sentinels: Vec<_> = sentinels.iter().map(|(host, port)| shown(host, *port)).collect();
                format!("{master} of the sentinels {}", sentinels.join(", "))
            }
        }
    }

    /// Asks another sentinel first, because the last answer did not lead to a primary.
    pub(super) fn doubt(&self) {
        self.last.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the address of the primary.
    pub(super) async fn find(&self, connector: &Connector) -> Result<(String, u16), EngineError> {
        let (sentinels, master) = match &self.place {
            EnginePlace::Single { host, port } => return Ok((host.clone(), *port)),
            EnginePlace::Sentinel { sentinels, master } => (sentinels, master),
        };
        let first = self.last.load(Ordering::Relaxed);
        let mut problems = Vec::new();
        for at in (0..sentinels.len()).map(|step| first.wrapping_add(step) % sentinels.len()) {
            let Some((host, port)) = sentinels.get(at) else { continue };
            match ask(connector, host, *port, master).await {
                Ok(found) => {
                    self.last.store(at, Ordering::Relaxed);
                    return self.permitted(found);
                }
                Err(fault) => problems.push(format!("{}: {}", shown(host, *port), fault.reason())),
            }
        }
        Err(EngineError::NoAnswer(format!(
            "no sentinel knows the primary {master:?} ({})",
            problems.join("; ")
        )))
    }

    /// Refuses a primary on another machine if nothing protects the connection to it.
    fn permitted(&self, (host, port): (String, u16)) -> Result<(String, u16), EngineError> {
        let is_loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if self.needs_loopback && !is_loopback {
            return Err(EngineError::Refused(format!(
                "the sentinels name {}, which is another machine, and there is no TLS: use the scheme \
                 `rediss+sentinel`, or set `allow_cleartext = true` where the network itself is trusted",
                shown(&host, port)
            )));
        }
        Ok((host, port))
    }
}

/// Returns an address as operators read it.
pub(super) fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Asks a sentinel. If it wants a user, it gets the engine's.
async fn ask(connector: &Connector, host: &str, port: u16, master: &str) -> Result<(String, u16), Fault> {
    let sentinel = within(connector.open_anonymous(host, port)).await?;
    match question(&sentinel, master).await {
        Err(Fault::NotAllowed(_)) => {
            let sentinel = within(connector.open_sentinel(host, port)).await?;
            question(&sentinel, master).await
        }
        answer => answer,
    }
}

async fn within<T>(act: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout(SENTINEL, act).await.unwrap_or(Err(Fault::TooLate))
}

async fn question(sentinel: &Connection, master: &str) -> Result<(String, u16), Fault> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(master);
    match sentinel.ask(&question, SENTINEL).await? {
        Value::Array(answer) => {
            let [host, port] = <[Value; 2]>::try_from(answer).map_err(|_| Fault::unexpected(&Value::Nil))?;
            let port = answers::text(port)?.parse().map_err(|_| Fault::unexpected(&Value::Okay))?;
            Ok((answers::text(host)?, port))
        }
        _ => Err(Fault::Refused(String::from("it does not know this name"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_elsewhere_needs_tls_or_consent() {
        let place = EnginePlace::Sentinel { sentinels: Vec::new(), master: String::from("m") };
        let search = PrimarySearch { place, needs_loopback: true, last: AtomicUsize::new(0) };
        let elsewhere = (String::from("10.0.0.1"), 6379);
        assert!(matches!(search.permitted(elsewhere.clone()), Err(EngineError::Refused(_))));
        assert!(search.permitted((String::from("127.0.0.1"), 6379)).is_ok());
        let search = PrimarySearch { needs_loopback: false, ..search };
        assert!(search.permitted(elsewhere).is_ok());
    }
}
