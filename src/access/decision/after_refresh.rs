//! The decision about a request whose session was refreshed or ended in the meantime.

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

/// The result of a session's refresh for one request.
#[derive(Debug)]
pub enum Renewal {
    /// There is a new JWT, of this user.
    Renewed(Arc<Identity>),
    /// The session is over.
    Over,
    /// The provider requires another step of the user first. The problem names the step.
    StepRequired(Problem),
    /// The refresh had no result. The session is kept. The problem is the answer to the request.
    Unavailable(Problem),
}

/// Decides about a request after the refresh that it waited for. If there is no new JWT, the old one is used while it
/// is valid.
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
        // On an optional route the user can begin the step, or another login.
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
