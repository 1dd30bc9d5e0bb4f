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
    /// It asks who the user is, and shows nothing that could say it: the answer is this, and refuses nothing.
    Nobody(Problem),
    /// A new JWT is needed first.
    Refresh(Pending<'a>),
    /// The session is over, and not to be refreshed, or there is none and its cookies are to be cleared.
    End(Ending<'a>),
    /// The JWT names a key that is not known: fetch the JWKS, then decide again.
    FetchKeys,
    /// It is answered here.
    Reject(Problem, Reason),
}

/// A request that waits for a new JWT.
#[derive(Debug)]
pub struct Pending<'a> {
    /// The destination that it goes to then.
    pub destination: Destination<'a>,
    /// The grant that it is refreshed with.
    pub grant: Grant,
    /// Whose session it is, if the old JWT is genuine, and the old JWT itself.
    pub previous: Option<Previous>,
    /// The cookies that it brought.
    pub presented: Presented,
}

/// A request whose session's cookies are to be cleared.
#[derive(Debug)]
pub struct Ending<'a> {
    /// The destination that it wanted to go to.
    pub destination: Destination<'a>,
    /// The grant that it could have been refreshed with, where that could be read.
    pub grant: Option<Grant>,
    /// The cookies that it brought.
    pub presented: Presented,
    /// The reason.
    pub reason: Reason,
}

/// The right of one request to go to its app. Only the decision makes one, and whatever writes to an app takes one.
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

    /// The route that it is for.
    pub const fn route(&self) -> Route {
        self.route
    }

    /// The user whose request it is: becomes the identity headers. `None`: the app is told of nobody.
    pub const fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The reason why it passes.
    pub const fn reason(&self) -> ReasonCode {
        self.reason
    }
}
