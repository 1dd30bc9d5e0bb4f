//! Names of cookies.

use crate::config::quoting::quote;
use crate::config::reader::Item;
use crate::syntax::header_name::is_token;

/// Reads a token of RFC 6265 section 4.1.1. It is short, so that the value gets most of the cookie's 4,096 bytes.
pub(crate) fn cookie_name(item: &Item<'_>) -> Option<String> {
    const HINT: &str = "write 1 to 64 letters, digits, `-` or `_`, such as `\"__Host-access_token\"`";
    let text = item.text("a cookie name", HINT)?;
    if text.is_empty() || text.len() > 64 || !is_token(text.as_bytes()) {
        return item.fault(format!("{} is not a usable cookie name", quote(text)), HINT);
    }
    if matches!(text.to_ascii_lowercase().as_str(), "__host-" | "__secure-") {
        return item.fault(format!("{} is a prefix without a name", quote(text)), HINT);
    }
    Some(text.to_owned())
}
