//! The events of the audit log.

/// One thing that can happen to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// Somebody logged in.
    Login,
    /// A login gave no session.
    LoginRefused,
    /// A session has a new JWT.
    Refresh,
    /// A session got no new JWT, but goes on.
    RefreshRefused,
    /// A session is over.
    SessionEnded,
    /// The user ended a session.
    Logout,
    /// The provider ended sessions with a logout token.
    BackchannelLogout,
    /// A logout token was refused.
    BackchannelLogoutRefused,
    /// A provider sent an event.
    Webhook,
    /// An event of a provider was refused.
    WebhookRefused,
    /// Somebody called `POST /sessions/revoke` on the admin listener.
    Revocation,
    /// Somebody called `POST /sessions/revoke` without the right token.
    RevocationRefused,
}

impl Event {
    /// All events.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 12] = [
        Self::Login,
        Self::LoginRefused,
        Self::Refresh,
        Self::RefreshRefused,
        Self::SessionEnded,
        Self::Logout,
        Self::BackchannelLogout,
        Self::BackchannelLogoutRefused,
        Self::Webhook,
        Self::WebhookRefused,
        Self::Revocation,
        Self::RevocationRefused,
    ];

    /// Returns the stable text in `event`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::LoginRefused => "login_refused",
            Self::Refresh => "refresh",
            Self::RefreshRefused => "refresh_refused",
            Self::SessionEnded => "session_ended",
            Self::Logout => "logout",
            Self::BackchannelLogout => "backchannel_logout",
            Self::BackchannelLogoutRefused => "backchannel_logout_refused",
            Self::Webhook => "webhook",
            Self::WebhookRefused => "webhook_refused",
            Self::Revocation => "revocation",
            Self::RevocationRefused => "revocation_refused",
        }
    }
}
