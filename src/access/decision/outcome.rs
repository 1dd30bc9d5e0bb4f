//! The outcomes of a decision.

use std::sync::Arc;

use crate::access::cookies::Presented;
use crate::access::endpoint::Call;
use crate::access::grant::{Grant, Previous};
use crate::access::identity::Identity;
use crate::access::reason::Reason;
use crate::access::routes::{Destination, Route};
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;

/// The outcome for a request.
#[derive(Debug)]
pub enum Decision<'a> {
    /// It goes to the app.
    Forward(Permit),
    /// An endpoint of the gateway's own answers it.
    Serve(Call),
    /// It asks for the user, but has no session cookie. This is the answer. It does not count as a refusal.
    Nobody(Problem),
    /// A new JWT is needed first.
    Refresh(Pending<'a>),
    /// The session is over and must not be refreshed, or there is no session. The session's cookies must be cleared.
    End(Ending<'a>),
    /// The JWT names an unknown key. The caller must fetch the JWKS, and then decide again.
    FetchKeys,
    /// It is refused. The problem is the answer.
    Reject(Problem, Reason),
}

/// A request that waits for a new JWT.
#[derive(Debug)]
pub struct Pending<'a> {
    /// The destination that it goes to after the refresh.
    pub destination: Destination<'a>,
    /// The grant for the refresh.
    pub grant: Grant,
    /// The old JWT with its identity, if it is genuine.
    pub previous: Option<Previous>,
    /// The cookies that it brought.
    pub presented: Presented,
}

/// A request whose session cookies must be cleared.
#[derive(Debug)]
pub struct Ending<'a> {
    /// The destination of the request.
    pub destination: Destination<'a>,
    /// The grant of the session, if it could be read.
    pub grant: Option<Grant>,
    /// The cookies that it brought.
    pub presented: Presented,
    /// The reason.
    pub reason: Reason,
}

/// The right of one request to go to its app. Only the decision creates a permit, and all code that writes to an app
/// requires one.
#[derive(Debug)]
pub struct Permit {
    route: Route,
    identity: Option<Arc<Identity>>,
    reason: ReasonCode,
}

impl Permit {
    /// Lets a request go on with an identity.
    pub(super) const fn with_identity(route: Route, identity: Arc<Identity>, reason: ReasonCode) -> Self {
        Self { route, identity: Some(identity), reason }
    }

    /// Lets a request go on without an identity.
    pub(super) const fn without_identity(route: Route, reason: ReasonCode) -> Self {
        Self { route, identity: None, reason }
    }

    /// Returns the route that the permit is for.
    pub const fn route(&self) -> Route {
        self.route
    }

    /// Returns the identity of the user. The identity headers are made from it. If it is `None`, the app receives no
    /// identity.
    pub const fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// Returns the reason why the request passes.
    pub const fn reason(&self) -> ReasonCode {
        self.reason
    }
}
