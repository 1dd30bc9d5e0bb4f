//! Describes the gateway's decision in words.

use crate::access::decision::{
    AppRules, Decision, Ending, Knowledge, Permit, Reason, RequestHead, admit, decide,
};
use crate::access::endpoint::{EndpointRules, Needs};
use crate::access::routes::{Destination, Rule};
use crate::access::session_tables::SessionTables;
use crate::command::explain::keys::Keys;
use crate::command::explain::steps::Steps;
use crate::config::{Access, Config};

/// Returns the tables of a gateway that has just started.
pub(super) fn empty_tables(now: u64) -> SessionTables {
    SessionTables::new(1, now)
}

/// The knowledge of a gateway with these keys.
pub(super) fn knowledge<'a>(
    keys: &'a Keys,
    memory: &'a SessionTables,
    config: &Config,
    now: u64,
) -> Knowledge<'a> {
    Knowledge {
        keys: &keys.set,
        key_generation: 0,
        memory,
        now,
        refresh_ahead: config.refresh.ahead.as_secs(),
        keys_are_fresh: true,
    }
}

/// Adds the steps of the decision. `token` is the reason code of the JWT. Returns true if the request may reach the
/// app.
pub(super) fn steps(
    steps: &mut Steps,
    rules: &AppRules,
    head: &RequestHead<'_>,
    known: &Knowledge<'_>,
    token: &'static str,
) -> bool {
    match decide(rules, head, known) {
        Decision::Forward(permit) => {
            forward(steps, &permit);
            true
        }
        Decision::Nobody(problem) => {
            let answer = format!("{} {}", problem.status.as_u16(), problem.code.as_str());
            steps.answer(&answer, "anonymous");
            false
        }
        Decision::Serve(call) => {
            let EndpointRules { needs, reads_body, answer, .. } = call.endpoint().rules();
            let reason = if matches!(needs, Needs::Session(_)) { "session_valid" } else { "served" };
            steps.answer(if reads_body { "the endpoint's own: it goes by the body" } else { answer }, reason);
            false
        }
        Decision::Refresh(pending) => {
            let is_early = pending.previous.as_ref().is_some_and(|previous| previous.still_valid);
            refresh(steps, pending.destination, is_early, token);
            true
        }
        Decision::End(Ending { destination, reason: reason @ Reason::DuplicateCookie, .. }) => {
            let code = reason.code().as_str();
            let answer = match admit(rules, destination, Err(reason)) {
                Decision::Reject(problem, _) => {
                    format!("{} {}, both cookies cleared", problem.status.as_u16(), problem.code.as_str())
                }
                _ => dead(destination).to_owned(),
            };
            steps.answer(&answer, code);
            is_open(destination)
        }
        Decision::End(ending) => {
            let code = ending.reason.code().as_str();
            steps.answer(dead(ending.destination), code);
            steps.add("", &ending.reason.to_string());
            is_open(ending.destination)
        }
        // This decision never comes, because the keys are said to be fresh.
        Decision::FetchKeys => false,
        Decision::Reject(problem, reason) => {
            let answer = format!("{} {}", problem.status.as_u16(), problem.code.as_str());
            steps.answer(&answer, reason.code().as_str());
            steps.add("", &reason.to_string());
            false
        }
    }
}

fn forward(steps: &mut Steps, permit: &Permit) {
    match permit.identity() {
        None => {
            let answer = "the app's, which is told nothing of a user";
            steps.answer(answer, permit.reason().as_str());
        }
        Some(identity) => {
            steps.answer("the app's, which is told:", permit.reason().as_str());
            for (name, value) in identity.headers() {
                let value = String::from_utf8_lossy(value.as_bytes());
                steps.add("identity", &format!("{name}: {value}"));
            }
        }
    }
}

fn refresh(steps: &mut Steps, destination: Destination<'_>, is_early: bool, token: &'static str) {
    steps.answer("first a refresh grant at the identity provider, then as with a valid JWT", token);
    if is_early {
        steps.add("", "not answered: the JWT is used on, as it is still valid");
    } else {
        steps.add("", "not answered: 503 identity_provider_unavailable, cookies kept");
    }
    steps.add("", &format!("refused (refresh_refused): {}", dead(destination)));
}

/// Returns the answer to a request whose session is over.
fn dead(destination: Destination<'_>) -> &'static str {
    if is_open(destination) {
        "the app's, which is told nothing of a user; both cookies cleared"
    } else {
        "401 session_expired, both cookies cleared"
    }
}

fn is_open(destination: Destination<'_>) -> bool {
    matches!(destination, Destination::App(Rule { access: Access::Public | Access::Optional, .. }))
}
