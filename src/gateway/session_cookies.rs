//! The `Set-Cookie` headers of a session, within what the browser may send back.

use http::HeaderValue;

use crate::access::cookie_codec::TooLarge;
use crate::access::cookies::Presented;
use crate::gateway::state::{App, State};
use crate::session::Tokens;

/// Why tokens do not become cookies.
#[derive(Debug, thiserror::Error)]
pub(super) enum CookieError {
    #[error(transparent)]
    Token(#[from] TooLarge),
    #[error("both tokens have {size} bytes, too many for `server.limits.max_header_size`")]
    Together { size: usize },
}

/// The cookies of a new session. Without a refresh token, one that is left of an older session goes.
pub(super) fn of_login(
    state: &State,
    app: &App,
    tokens: &Tokens,
    presented: Presented,
) -> Result<Vec<HeaderValue>, CookieError> {
    let refresh_token = tokens.refresh_token.as_ref().map_or("", |token| token.as_str());
    let mut cookies = access_token(state, app, &tokens.access_token, refresh_token, presented)?;
    if tokens.refresh_token.is_some() {
        cookies.extend(app.cookies.refresh_token(refresh_token, presented)?);
    } else {
        cookies.extend(app.cookies.clear_refresh_token(presented));
    }
    Ok(cookies)
}

/// The JWT's cookies, if the browser can send them back together with the refresh token's: a head that is refused for its
/// size would lock the user out.
pub(super) fn access_token(
    state: &State,
    app: &App,
    access_token: &str,
    refresh_token: &str,
    presented: Presented,
) -> Result<Vec<HeaderValue>, CookieError> {
    let size = access_token.len() + refresh_token.len();
    if size > state.limits.max_header_size / 4 * 3 {
        return Err(CookieError::Together { size });
    }
    Ok(app.cookies.access_token(access_token, presented)?)
}
