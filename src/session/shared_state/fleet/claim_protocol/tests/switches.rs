//! The protections that a test can remove.

/// The protections that are removed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Switches {
    /// A new generation grants claims at once.
    pub(super) has_no_settling: bool,
    /// Nothing is asserted to a new generation.
    pub(super) asserts_nothing_again: bool,
    /// A claim is repeated with another nonce, as if it was another one.
    pub(super) repeats_with_other_nonce: bool,
    /// The engine grants a claim that another replica has.
    pub(super) grants_to_anybody: bool,
    /// A claim is used however old it is.
    pub(super) takes_old_claims: bool,
    /// Claims are not taken back.
    pub(super) takes_nothing_back: bool,
    /// What could not be asserted is not asserted later.
    pub(super) forgets_failed_assertions: bool,
    /// Results are not sent to other replicas.
    pub(super) sends_no_messages: bool,
    /// A claim is taken over from a replica that is silent, although the provider has no grace period.
    pub(super) takes_over_from_silent: bool,
    /// A refresh token is presented without a claim if the engine does not answer.
    pub(super) presents_without_engine: bool,
    /// A claim holds for two seconds only.
    pub(super) has_short_claims: bool,
    /// The refresh token is presented again at once after a call without an answer.
    pub(super) forgets_unknown: bool,
}
