//! The size of a user's cookies.

use http::HeaderValue;

use super::report::Report;
use crate::access::cookies::Presented;
use crate::access::revocations::Mark;
use crate::access::seal::{Seal, SessionRecord};
use crate::config::{self, Config};
use crate::identity_provider::TokenSet;
use crate::session::CookieWriter;

/// The default limit of many servers and load balancers for all headers together, in bytes.
const USUAL_HEADER_LIMIT: usize = 8 * 1024;

pub(super) fn check(
    config: &Config,
    app: &config::App,
    tokens: &TokenSet,
    subject: &str,
    report: &mut Report,
) {
    let writer = CookieWriter::new(app.cookies.clone());
    let refresh_token = tokens.refresh_token.as_ref().map(|token| sealed(config, app, token));
    let cookies = writer.access_token(&tokens.access_token, Presented::default()).and_then(|mut cookies| {
        if let Some(token) = &refresh_token {
            cookies.extend(writer.refresh_token(token, Presented::default())?);
        }
        Ok(cookies)
    });
    let fix = "take roles and claims that the app does not need out of the JWT (Keycloak: \"Full scope allowed\" off)";
    let cookies = match cookies {
        Ok(cookies) => cookies,
        Err(error) => return report.error(subject, format!("cookies: {error}"), fix),
    };
    // A browser sends the name and the value, and `; ` between two cookies.
    let size: usize = cookies.iter().map(|cookie| pair(cookie).len() + 2).sum();
    let message = format!("cookies: {} of {size} bytes together", cookies.len());
    if size >= config.server.limits.max_header_size {
        report.error(subject, format!("{message}, more than `server.limits.max_header_size`"), fix);
    } else if size > USUAL_HEADER_LIMIT / 2 {
        let message = format!("{message}: what stands in front may not take such heads (often 8 KiB in all)");
        report.warning(subject, message, fix);
    } else {
        report.ok(subject, message);
    }
}

fn pair(cookie: &HeaderValue) -> &[u8] {
    cookie.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default()
}

/// Returns a cookie value of the length that the real value will have.
fn sealed(config: &Config, app: &config::App, refresh_token: &str) -> String {
    let nothing = Mark::from_bytes([0; 16]);
    let record = SessionRecord {
        id: [0; 16],
        subject: nothing,
        access_token: nothing,
        access_token_expires_at: 0,
        started_at: 0,
        renewed_at: 0,
    };
    Seal::new(&config.session.seal_keys, &app.name, &app.cookies.refresh_token)
        .and_then(|seal| seal.close(refresh_token, &record).ok())
        .map_or_else(|| refresh_token.to_owned(), |sealed| sealed.as_str().to_owned())
}
