//! The faults of a question that cannot be explained.

/// The reason why a request cannot be explained.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExplainError {
    /// Not a method.
    #[error("`{0}` is not a request method")]
    Method(String),
    /// Not a URL with a host.
    #[error(
        "`{0}` is not an http, https, ws or wss URL: write it as a browser has it, such as `https://store.example.com/cart`"
    )]
    Url(String),
    /// Not an `Origin`.
    #[error("`{0}` cannot be an `Origin` header")]
    Origin(String),
    /// Not a header, or one that has its own way in.
    #[error(
        "`{0}` is not a header such as `Sec-Fetch-Site: same-origin`; `Host` follows from the URL, `Cookie` comes by --cookies"
    )]
    Header(String),
    /// None of the formats.
    #[error("the cookies cannot be read: {0}")]
    Cookies(&'static str),
    /// Not a JWKS with a usable key.
    #[error("the JWKS cannot be used: {0}")]
    Jwks(String),
}
