//! The errors of a question that cannot be explained.

/// The reason why a request cannot be explained.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExplainError {
    /// The method is not valid.
    #[error("`{0}` is not a request method")]
    Method(String),
    /// The text is not a URL with a host.
    #[error(
        "`{0}` is not an http, https, ws or wss URL: write it as a browser has it, such as `https://store.example.com/cart`"
    )]
    Url(String),
    /// The text is not an `Origin`.
    #[error("`{0}` cannot be an `Origin` header")]
    Origin(String),
    /// The text is not a header, or there is another option for this header.
    #[error(
        "`{0}` is not a header such as `Sec-Fetch-Site: same-origin`; `Host` follows from the URL, `Cookie` comes by --cookies"
    )]
    Header(String),
    /// The file has none of the formats.
    #[error("the cookies cannot be read: {0}")]
    Cookies(&'static str),
    /// The file is not a JWKS with a usable key.
    #[error("the JWKS cannot be used: {0}")]
    Jwks(String),
}
