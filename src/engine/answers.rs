//! The engine's answers to scripts, as results of operations.

use std::time::Duration;

use redis::Value;

use crate::engine::commands::{Asserted, ClaimAnswer, Generation, Known, RecordState, Reserved, Verdict};
use crate::engine::faults::Fault;

/// Reads a list with this number of values.
fn list<const N: usize>(value: Value) -> Result<[Value; N], Fault> {
    let Value::Array(values) = value else { return Err(Fault::unexpected(&value)) };
    values.try_into().map_err(|values| Fault::unexpected(&Value::Array(values)))
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, Fault> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        other => Err(Fault::unexpected(&other)),
    }
}

pub(super) fn text(value: Value) -> Result<String, Fault> {
    String::from_utf8(bytes(value)?).map_err(|_| Fault::unexpected(&Value::Nil))
}

pub(super) fn number(value: &Value) -> Result<u64, Fault> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| Fault::unexpected(value)),
        other => Err(Fault::unexpected(other)),
    }
}

fn state(word: &str) -> Result<RecordState, Fault> {
    RecordState::of_word(word).ok_or_else(|| Fault::unexpected(&Value::Okay))
}

fn place(value: &Value) -> Result<usize, Fault> {
    usize::try_from(number(value)?).map_err(|_| Fault::unexpected(value))
}

/// Reads the answer to a claim.
pub(super) fn claim(value: Value) -> Result<ClaimAnswer, Fault> {
    let [word, value, generation, key] = list(value)?;
    let generation = Generation(text(generation)?);
    let verdict = match text(word)?.as_str() {
        "mine" => Verdict::Mine,
        "busy" => Verdict::Busy { owner: text(value)? },
        "settling" => {
            let time = text(value)?.parse().map_err(|_| Fault::unexpected(&Value::Okay))?;
            Verdict::Settling(Duration::from_millis(time))
        }
        word => Verdict::Known(Known { state: state(word)?, key: place(&key)?, value: bytes(value)? }),
    };
    Ok(ClaimAnswer { generation, verdict })
}

/// Reads a record, or nothing.
pub(super) fn record(value: Value) -> Result<Option<Known>, Fault> {
    if matches!(&value, Value::Array(values) if values.is_empty()) {
        return Ok(None);
    }
    let [word, value, key] = list(value)?;
    Ok(Some(Known { state: state(&text(word)?)?, key: place(&key)?, value: bytes(value)? }))
}

/// Reads the answer to an assertion.
pub(super) fn assert(value: Value) -> Result<Asserted, Fault> {
    Ok(record(value)?.map_or(Asserted::Written, Asserted::Kept))
}

/// Reads the answer to a reservation.
pub(super) fn reserve(value: Value) -> Result<Reserved, Fault> {
    let [word, wait] = list(value)?;
    match text(word)?.as_str() {
        "yes" => Ok(Reserved::Yes),
        "way" => Ok(Reserved::OnTheirWay),
        "failed" => Ok(Reserved::Failed(Duration::from_millis(number(&wait)?))),
        _ => Err(Fault::unexpected(&Value::Okay)),
    }
}

/// Reads the answer to a heartbeat: the generation, and the time until it has settled.
pub(super) fn touch(value: Value) -> Result<(Generation, Duration), Fault> {
    let [generation, settling] = list(value)?;
    Ok((Generation(text(generation)?), Duration::from_millis(number(&settling)?)))
}

/// Reads the answer to `SET … NX GET`: the owner before, or nothing. Tells whether this owner has it now.
pub(super) fn set_by(value: Value, owner: &str) -> Result<bool, Fault> {
    match value {
        Value::Nil | Value::Okay => Ok(true),
        other => Ok(bytes(other)? == owner.as_bytes()),
    }
}

/// New entries of a stream: the id of the last one, and all values.
pub(super) type Entries = (Vec<u8>, Vec<Vec<u8>>);

/// Reads the answer to XREAD. `None` means that there is nothing new.
pub(super) fn entries(value: Value) -> Result<Option<Entries>, Fault> {
    if value == Value::Nil {
        return Ok(None);
    }
    let [stream] = list(value)?;
    let [_, entries] = list(stream)?;
    let Value::Array(entries) = entries else { return Err(Fault::unexpected(&entries)) };
    let (mut last, mut values) = (None, Vec::with_capacity(entries.len()));
    for entry in entries {
        let [id, fields] = list(entry)?;
        last = Some(bytes(id)?);
        // An entry of another form is not ours.
        if let Ok([_, value]) = list(fields) {
            values.push(bytes(value)?);
        }
    }
    Ok(last.map(|last| (last, values)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        redis::parse_redis_value(text.replace(' ', "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn answers_to_claims() {
        let mine = claim(read("*4 $4 mine $0  $2 g1 :0 ")).unwrap();
        let expected = ClaimAnswer { generation: Generation(String::from("g1")), verdict: Verdict::Mine };
        assert_eq!(mine, expected);
        let settling = claim(read("*4 $8 settling $4 1500 $2 g1 :0 ")).unwrap();
        assert_eq!(settling.verdict, Verdict::Settling(Duration::from_millis(1500)));
        let known = claim(read("*4 $2 ok $2 xy $2 g1 :1 ")).unwrap();
        let expected = Known { state: RecordState::Tokens, key: 1, value: b"xy".to_vec() };
        assert_eq!(known.verdict, Verdict::Known(expected));
        assert!(claim(read("*4 $5 other $2 xy $2 g1 :1 ")).is_err());
        assert!(claim(read("*1 $5 other ")).is_err());
        assert!(claim(Value::Nil).is_err());
    }

    #[test]
    fn answers_to_reads_of_the_stream() {
        assert_eq!(entries(Value::Nil).unwrap(), None);
        let two = read("*1 *2 $3 rev *2 *2 $3 1-0 *2 $1 v $1 a *2 $3 2-0 *2 $1 v $1 b ");
        assert_eq!(entries(two).unwrap(), Some((b"2-0".to_vec(), vec![b"a".to_vec(), b"b".to_vec()])));
    }

    #[test]
    fn a_turn_belongs_to_whoever_set_it() {
        assert_eq!(set_by(Value::Nil, "a"), Ok(true));
        assert_eq!(set_by(read("$1 a "), "a"), Ok(true));
        assert_eq!(set_by(read("$1 b "), "a"), Ok(false));
    }
}
