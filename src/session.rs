//! The life of a session: login, refresh and logout. The session itself is the pair of cookies in the browser. These
//! modules only begin it, renew it and end it.

mod body_format;
mod calls_under_way;
mod cookie_changes;
mod credentials;
mod expiring_table;
mod known_login_sites;
mod late_answers;
mod login;
mod login_fields;
mod login_name;
mod login_queue;
mod logout;
mod new_cookies;
mod open_stream_session;
mod outcome;
mod provider_calls;
mod refresh;
mod refresh_call;
mod refresh_limits;
mod relying_party;
mod replay_window;
mod reuse_detection;
mod revoke;
mod session_key;
mod sessions;
mod set_cookie;
mod shared_state;
#[cfg(test)]
mod tests;
mod throttle;

pub use body_format::{BodyFormat, BodyKind, media_types};
pub(crate) use calls_under_way::CallsUnderWay;
#[cfg(test)]
pub(crate) use calls_under_way::Kind as CallKind;
pub use credentials::parse as parse_credentials;
pub(crate) use login::{step, unavailable};
pub(crate) use new_cookies::{Asker, Brought, Change, NewCookies};
pub(crate) use open_stream_session::StreamSession;
pub use outcome::{Outcome, Refreshed, Tokens, UnverifiedTokens};
pub(crate) use provider_calls::ProviderCalls;
pub use relying_party::RelyingParty;
pub use revoke::Revoked;
pub(crate) use session_key::SessionKey;
pub use sessions::Sessions;
pub(crate) use sessions::hear;
pub use set_cookie::CookieWriter;
pub(crate) use shared_state::fleet::{EngineLink, Fleet, FleetFacts, Heard, Member, SessionRecord, look_up};
