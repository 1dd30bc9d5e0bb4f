//! Failures of commands, and what they say about the operation and the connection.

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use crate::engine::commands::EngineError;

/// The failure of a command or of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// There was no answer in time.
    TooLate,
    /// The connection is broken. The operation may have been carried out.
    Broken(String),
    /// The server is no primary, or it is not ready. It has not carried out the operation.
    NotNow(String),
    /// The server does not let this client do anything. The text says what to do.
    NotAllowed(String),
    /// The server does not know the script.
    NoScript,
    /// The server has refused this operation.
    Refused(String),
}

impl Fault {
    /// Tells whether other connections must be made.
    pub(super) const fn ends_connection(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::NotNow(_))
    }

    /// Returns the kind for the metric.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::TooLate => "timeout",
            Self::Broken(_) => "connection",
            Self::NotNow(_) => "not_primary",
            Self::NotAllowed(_) | Self::NoScript | Self::Refused(_) => "refused",
        }
    }

    /// Returns the error of the operation.
    pub(super) fn error(self) -> EngineError {
        match self {
            Self::TooLate => EngineError::NoAnswer(String::from("the time is over")),
            Self::Broken(text) => EngineError::NoAnswer(text),
            Self::NotNow(_) => EngineError::Away,
            Self::NotAllowed(text) | Self::Refused(text) => EngineError::Refused(text),
            Self::NoScript => EngineError::Refused(String::from("the script is not known")),
        }
    }

    /// Returns the reason why there is no connection.
    pub(super) fn reason(self) -> EngineError {
        match self {
            Self::NotNow(text) => EngineError::NoAnswer(text),
            other => other.error(),
        }
    }

    /// Returns the fault of an unexpected answer.
    pub(super) fn unexpected(value: &Value) -> Self {
        // The value itself is not shown: it may be a sealed result.
        let kind = match value {
            Value::Nil => "nothing",
            Value::Int(_) => "a number",
            Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a string",
            Value::Array(_) => "a list",
            _ => "something else",
        };
        Self::Refused(format!("it answered with {kind}, which means nothing here"))
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let text = || {
            let detail = error.detail().map(|detail| format!(" {detail}"));
            format!("{}{}", error.code().unwrap_or_default(), detail.unwrap_or_default())
        };
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
                Self::NotAllowed(String::from(
                    "it refuses the user or the password: check `username` and `password` of `[shared_state]`",
                ))
            }
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) | (_, Some("NOPERM")) => {
                Self::NotAllowed(not_permitted(&text()))
            }
            (ErrorKind::Server(ServerErrorKind::NoScript), _) => Self::NoScript,
            (
                ErrorKind::Server(
                    ServerErrorKind::ReadOnly
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::TryAgain,
                ),
                _,
            )
            | (_, Some("UNKILLABLE" | "BUSY" | "LOADING" | "READONLY" | "MASTERDOWN")) => {
                Self::NotNow(text())
            }
            (ErrorKind::Server(_) | ErrorKind::Extension, _) => {
                let text = text();
                if ["ACL failure", "The user executing the script"].iter().any(|part| text.contains(part)) {
                    return Self::NotAllowed(not_permitted(&text));
                }
                Self::Refused(text)
            }
            _ => Self::Broken(error.to_string()),
        }
    }
}

fn not_permitted(text: &str) -> String {
    format!("the engine's ACL forbids a command: give the user the commands of `docs/operations.md` ({text})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Fault {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap() {
            Value::ServerError(error) => Fault::from(RedisError::from(error)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_of_an_engine_say_what_became_of_the_operation() {
        for line in [
            "READONLY You can't write against a read only replica. script: abc, on @user_script:1.",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "UNKILLABLE Sorry the script already executed write commands",
            "BUSY Redis is busy running a script.",
        ] {
            let fault = of(line);
            assert!(matches!(fault, Fault::NotNow(_)), "{line}: {fault:?}");
            assert!(fault.ends_connection());
            assert_eq!(fault.error(), EngineError::Away, "it has certainly not been carried out");
        }
        for line in [
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOPERM User x has no permissions to run the 'evalsha' command",
            "ERR ACL failure in script: User x has no permissions to run the 'info' command",
            "ERR The user executing the script can't run this command or subcommand script: abc, on @user_script:4.",
        ] {
            assert!(matches!(of(line), Fault::NotAllowed(_)), "{line}: {:?}", of(line));
        }
        assert_eq!(of("NOSCRIPT No matching script."), Fault::NoScript);
        let full = of("OOM command not allowed when used memory > 'maxmemory'.");
        assert!(matches!(full.error(), EngineError::Refused(text) if text.contains("maxmemory")));
    }

    #[test]
    fn a_broken_connection_says_nothing_about_the_operation() {
        let fault = Fault::from(RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        assert!(fault.ends_connection());
        assert!(matches!(fault.error(), EngineError::NoAnswer(_)));
    }
}
