//! The fate of a refresh token whose refresh has no outcome.

/// The fate of a refresh token, if a refresh brought neither tokens nor a word about the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFate {
    /// The provider has certainly not processed the refresh token.
    NotProcessed,
    /// The provider may have processed the refresh token, and may have replaced it.
    Unknown,
}
