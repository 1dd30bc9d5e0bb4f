//! The three paths that Portcullis serves itself: login, user, logout.

use std::net::IpAddr;

use bytes::BytesMut;
use http::header;
use pingora_core::Result;
use pingora_proxy::Session;
use tokio::time::timeout;
use tracing::error;
use zeroize::{Zeroize, Zeroizing};

use crate::access::cookies::Presented;
use crate::access::identity::Identity;
use crate::forwarding::Origin;
use crate::gateway::answer::Answer;
use crate::gateway::context::Context;
use crate::gateway::session_cookies;
use crate::gateway::state::{App, State};
use crate::respond::{Code, Problem};
use crate::session::{BodyFormat, Tokens, parse_credentials, unavailable};

/// Answers a login.
pub(super) async fn login(
    state: &State,
    app: &App,
    session: &mut Session,
    context: &mut Context,
) -> Result<()> {
    let answer = match try_login(state, app, session, context).await? {
        Ok(tokens) => user_object(app, &tokens.identity),
        Err(problem) => Answer::from(&problem),
    };
    answer.send(state, session, context).await
}

async fn try_login(
    state: &State,
    app: &App,
    session: &mut Session,
    context: &mut Context,
) -> Result<std::result::Result<std::sync::Arc<Tokens>, Problem>> {
    let headers = &session.req_header().headers;
    // One that comes twice has two readings, and is taken for none that is known.
    let header = |name| match headers.get_all(name).iter().collect::<Vec<_>>()[..] {
        [] => None,
        [value] => Some(value.as_bytes()),
        _ => Some(b"".as_slice()),
    };
    let format =
        match BodyFormat::from_headers(header(header::CONTENT_TYPE), header(header::CONTENT_ENCODING)) {
            Ok(format) => format,
            Err(problem) => return Ok(Err(problem)),
        };
    let body = match read_body(state, session).await? {
        Ok(body) => body,
        Err(problem) => return Ok(Err(problem)),
    };
    let credentials = match parse_credentials(format, &body, &app.login) {
        Ok(credentials) => credentials,
        Err(problem) => return Ok(Err(problem)),
    };
    drop(body);
    let client = client_address(state, session, context);
    let tokens = match state.sessions.login(&app.session, &credentials, client).await {
        Ok(tokens) => tokens,
        Err(problem) => return Ok(Err(problem)),
    };
    let (presented, old) = presented_refresh_token(app, session);
    match session_cookies::of_login(state, app, &tokens, presented) {
        Ok(cookies) => context.new_cookies = cookies,
        Err(error) => {
            error!(app = app.name, %error, "login impossible: the provider's tokens do not fit into cookies");
            return Ok(Err(unavailable()));
        }
    }
    if let Some(old) = old.filter(|old| tokens.refresh_token.as_ref() != Some(old)) {
        state.sessions.replace(&app.session, &old);
    }
    Ok(Ok(tokens))
}

/// Answers who the user is.
pub(super) async fn user(
    state: &State,
    app: &App,
    identity: &Identity,
    session: &mut Session,
    context: &Context,
) -> Result<()> {
    user_object(app, identity).send(state, session, context).await
}

/// Answers a logout: the session is over in any case, also if the provider is down.
pub(super) async fn logout(state: &State, app: &App, session: &mut Session, context: &Context) -> Result<()> {
    let (presented, refresh_token) = presented_refresh_token(app, session);
    if let Some(refresh_token) = refresh_token {
        state.sessions.logout(&app.session, &refresh_token).await;
    }
    Answer::no_content().write(session, context, &app.cookies.clear(presented)).await
}

fn user_object(app: &App, identity: &Identity) -> Answer {
    Answer::json(identity.user_object(&app.rules().identity))
}

fn presented_refresh_token(app: &App, session: &Session) -> (Presented, Option<Zeroizing<String>>) {
    let cookies = app.rules().cookies.read(&session.req_header().headers);
    (cookies.presented, cookies.refresh_token.map(|token| Zeroizing::new(token.into_owned())))
}

fn client_address(state: &State, session: &Session, context: &Context) -> Option<IpAddr> {
    let connection = context.connection.as_ref()?;
    let headers = &session.req_header().headers;
    let nobody = http::HeaderValue::from_static("");
    let origin = Origin::new(headers, connection.peer(), connection.tls(), &nobody, &state.trusted_proxies);
    Some(origin.client())
}

/// A login's body, zeroised when dropped.
pub(super) struct Body(BytesMut);

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.0.as_mut().zeroize();
    }
}

async fn read_body(state: &State, session: &mut Session) -> Result<std::result::Result<Body, Problem>> {
    const TOO_LARGE: Problem = Problem::new(Code::BodyTooLarge, "The body is too large for a login.");
    let max_size = state.limits.max_login_body_size;
    let headers = &session.req_header().headers;
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > max_size) {
        return Ok(Err(TOO_LARGE));
    }
    let expects = headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if expects && session.req_header().version == http::Version::HTTP_11 {
        session.write_continue_response().await?;
    }
    let reading = async {
        let mut body = Body(BytesMut::with_capacity(length.unwrap_or(1024)));
        while let Some(chunk) = session.read_request_body().await? {
            if body.len() + chunk.len() > max_size {
                return Ok(Err(TOO_LARGE));
            }
            body.0.extend_from_slice(&chunk);
        }
        Ok(Ok(body))
    };
    if let Ok(read) = timeout(state.limits.login_body_timeout, reading).await {
        return read;
    }
    session.set_keepalive(None);
    Ok(Err(Problem::new(Code::RequestTimeout, "The body did not arrive in time.")))
}
