//! Reads one record with a connection of its own, for diagnosis. It writes nothing.

use std::time::Duration;

use redis::Value;
use tokio::time::timeout;

use crate::config::SharedState;
use crate::engine::answers;
use crate::engine::commands::{EngineError, Known};
use crate::engine::connection::Connector;
use crate::engine::faults::Fault;
use crate::engine::keyspace::Keyspace;
use crate::engine::names::Name;
use crate::engine::primary::Primary;
use crate::engine::primary_search::PrimarySearch;
use crate::engine::scripts;

/// The longest time for one command.
const COMMAND: Duration = Duration::from_secs(1);

/// The longest time for all.
const ALL: Duration = Duration::from_secs(3);

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) known: Known,
    /// The id of the replica that claimed the refresh token. Empty if it is not known.
    pub(crate) owner: String,
    /// The age of the claim by the engine's clock. Zero if it is not known.
    pub(crate) age: Duration,
}

/// Reads the strongest record of these names.
pub(crate) async fn look(settings: &SharedState, names: &[Name]) -> Result<Option<Found>, EngineError> {
    let looked = timeout(ALL, look_without_limit(settings, names)).await;
    looked.unwrap_or_else(|_| Err(Fault::TooLate.reason()))
}

async fn look_without_limit(settings: &SharedState, names: &[Name]) -> Result<Option<Found>, EngineError> {
    let connector = Connector::new(settings, "portcullis-explain");
    let (host, port) = PrimarySearch::new(settings).find(&connector).await?;
    let connection = connector.open(&host, port).await.map_err(Fault::reason)?;
    let primary = Primary::new(host, port, connection, None);
    let keys = Keyspace::new(&settings.prefix).records(names);
    let answer = primary.call(&scripts::LOOK.call(&keys), COMMAND).await.map_err(Fault::reason)?;
    let Some(known) = answers::record(answer).map_err(Fault::error)? else { return Ok(None) };
    let claim = match keys.get(known.key) {
        Some(key) => claim(&primary, key).await.map_err(Fault::reason)?,
        None => None,
    };
    let (owner, age) = claim.unwrap_or_default();
    Ok(Some(Found { known, owner, age }))
}

/// Reads the owner and the age of a claim.
async fn claim(primary: &Primary, key: &str) -> Result<Option<(String, Duration)>, Fault> {
    let mut fields = redis::cmd("HMGET");
    fields.arg(key).arg("o").arg("t");
    let claim = primary.ask(&fields, COMMAND).await?;
    let now = primary.ask(&redis::cmd("TIME"), COMMAND).await?;
    Ok(read(claim, now))
}

fn read(claim: Value, now: Value) -> Option<(String, Duration)> {
    let [owner, since] = pair(claim)?;
    let [seconds, microseconds] = pair(now)?;
    let number = |value| answers::text(value).ok()?.parse::<u64>().ok();
    let now = number(seconds)?.checked_mul(1000)?.checked_add(number(microseconds)? / 1000)?;
    Some((answers::text(owner).ok()?, Duration::from_millis(now.saturating_sub(number(since)?))))
}

fn pair(value: Value) -> Option<[Value; 2]> {
    let Value::Array(values) = value else { return None };
    values.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| Value::BulkString(text.as_bytes().to_vec())).collect())
    }

    #[test]
    fn a_claim_has_an_owner_and_an_age() {
        let now = || texts(&["1800000004", "250999"]);
        let claim = read(texts(&["00112233aabbccdd", "1800000000000"]), now());
        assert_eq!(claim, Some((String::from("00112233aabbccdd"), Duration::from_millis(4250))));
        assert_eq!(read(Value::Array(vec![Value::Nil, Value::Nil]), now()), None, "it has ended meanwhile");
    }
}
