//! The decision about a request whose session has been refreshed, or ended, meanwhile.

use std::sync::Arc;

use crate::access::decision::decide::admit_identity;
use crate::access::decision::outcome::{Decision, Pending, Permit};
use crate::access::identity::Identity;
use crate::access::reason::Reason;
use crate::access::routes::{Destination, Rule};
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::config::Access;

/// The result of a session's refresh, as far as its request is concerned.
#[derive(Debug)]
pub enum Renewal {
    /// There is a new JWT: of this user.
    Renewed(Arc<Identity>),
    /// The session is over.
    Over,
    /// The provider wants a step of the user before: the problem says which.
    StepRequired(Problem),
    /// Nothing can be said now, and the session is kept: the problem says so.
    Unavailable(Problem),
}

/// Decides about a request after the refresh that it waited for. Without a new JWT, the old one is used while it is
/// valid.
pub fn decide_again(pending: Pending<'_>, renewal: Renewal) -> Decision<'_> {
    let Pending { destination, previous, .. } = pending;
    let valid = previous.filter(|previous| previous.still_valid).map(|previous| previous.identity);
    match (renewal, valid) {
        (Renewal::Renewed(identity), _) => {
            admit_identity(destination, identity, ReasonCode::SessionRefreshed)
        }
        (Renewal::Over, _) => ended(destination, Reason::SessionEnded),
        (Renewal::StepRequired(_) | Renewal::Unavailable(_), Some(identity)) => {
            admit_identity(destination, identity, ReasonCode::SessionValid)
        }
        // The step, or another login, may begin on an optional route.
        (Renewal::StepRequired(problem), None) => {
            let reason = Reason::StepRequired(problem.reason);
            without_identity(destination).unwrap_or(Decision::Reject(problem, reason))
        }
        (Renewal::Unavailable(problem), None) => Decision::Reject(problem, Reason::ProviderUnavailable),
    }
}

/// Decides about a request whose session is over.
pub fn ended(destination: Destination<'_>, reason: Reason) -> Decision<'_> {
    without_identity(destination).unwrap_or_else(|| {
        let problem = Problem::new(Code::SessionExpired, "The session has ended. Log in again.");
        Decision::Reject(problem, reason)
    })
}

/// Lets a request to an optional route go on without an identity.
fn without_identity(destination: Destination<'_>) -> Option<Decision<'_>> {
    let Destination::App(Rule { access: Access::Optional, .. }) = destination else { return None };
    let permit = Permit::without_identity(destination.route(), ReasonCode::Anonymous);
    Some(Decision::Forward(permit))
}
