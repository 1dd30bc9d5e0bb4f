//! Explains what the fleet knows of a request's refresh token.

use crate::access::decision::{AppRules, RequestHead};
use crate::command::explain::steps::Steps;
use crate::config::Config;
use crate::session::{SessionKey, SessionRecord, look_up};

/// Returns what an explanation leaves out, because only a running gateway knows it.
pub(super) const fn not_known(config: &Config) -> &'static str {
    if config.shared_state.is_some() {
        "revocations, which only the running replicas know: see their logs"
    } else {
        "revocations and replaced refresh tokens, which only the running gateway knows: see its log"
    }
}

/// Adds the steps of the fleet, if there is one and the request has a refresh token.
pub(super) async fn steps(steps: &mut Steps, config: &Config, rules: &AppRules, head: &RequestHead<'_>) {
    let Some(settings) = &config.shared_state else { return };
    let cookies = rules.cookies.read(head.headers);
    let Some(grant) = cookies.refresh_token.as_deref().and_then(|cookie| rules.session.open(cookie)) else {
        return;
    };
    let key = SessionKey::new(rules.client_number, &grant.refresh_token);
    let found = look_up(settings, key, &grant.refresh_token).await;
    let (text, hint) = said(found);
    steps.add("fleet", &text);
    if !hint.is_empty() {
        steps.add("", hint);
    }
}

/// Returns what is known, and a hint.
fn said(found: Result<SessionRecord, String>) -> (String, &'static str) {
    let (text, hint) = match found {
        Ok(SessionRecord::Claimed { replica, age }) => {
            let replica = if replica.is_empty() { "a replica" } else { &format!("replica {replica}") };
            return (
                format!(
                    "claimed by {replica} {} s ago: no other one presents the refresh token meanwhile",
                    age.as_secs()
                ),
                "hint: a call is under way, or had no answer: the claim ends after 60 s at the latest",
            );
        }
        Err(error) => {
            return (
                format!("not known: {error}"),
                "hint: without the engine a refresh gets 503, and the cookies are kept",
            );
        }
        Ok(SessionRecord::Nothing) => {
            ("nothing is known of the refresh token: nobody has used it lately", "")
        }
        Ok(SessionRecord::Renewed { opens: true }) => (
            "replaced: the provider gave new tokens, and this refresh token opens them",
            "the next request gets them without a call to the provider",
        ),
        Ok(SessionRecord::Renewed { opens: false }) => (
            "replaced: the provider gave new tokens, but they do not open with this refresh token",
            "hint: compare `shared_state.keys` with those of the replicas",
        ),
        Ok(SessionRecord::Dead) => ("refused by the provider a moment ago (refresh_refused)", ""),
        Ok(SessionRecord::Ended) => (
            "ended: by its user, the provider, an operator, or its lifetime",
            "see the audit log of the replicas",
        ),
        Ok(SessionRecord::Replaced) => ("ended: by another login in the same browser", ""),
    };
    (text.to_owned(), hint)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_state_is_said() {
        for (record, expected) in [
            (SessionRecord::Nothing, "nothing is known"),
            (SessionRecord::Renewed { opens: true }, "replaced: the provider gave new tokens, and"),
            (SessionRecord::Renewed { opens: false }, "but they do not open"),
            (SessionRecord::Dead, "refused by the provider"),
            (SessionRecord::Ended, "ended: by its user"),
            (SessionRecord::Replaced, "another login"),
        ] {
            let (text, _) = said(Ok(record));
            assert!(text.contains(expected), "{text}");
        }
        let claimed = |replica: &str| {
            said(Ok(SessionRecord::Claimed { replica: replica.into(), age: Duration::from_millis(4900) })).0
        };
        assert!(claimed("00112233aabbccdd").starts_with("claimed by replica 00112233aabbccdd 4 s ago"));
        assert!(claimed("").starts_with("claimed by a replica"));
        let (text, hint) = said(Err(String::from("the engine is away")));
        assert!(text.contains("the engine is away") && hint.contains("503"), "{text}");
    }
}
