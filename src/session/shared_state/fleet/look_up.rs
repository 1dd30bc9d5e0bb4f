//! Looks up what the fleet knows of a session, for `explain`. It makes a connection of its own, and changes nothing.

use std::time::Duration;

use crate::access::tokens::RefreshToken;
use crate::config;
use crate::engine::commands::RecordState;
use crate::engine::one_look::{Found, look};
use crate::engine::sealing::FleetKeys;
use crate::session::session_key::SessionKey;

/// The knowledge about a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionRecord {
    /// There is no record.
    Nothing,
    /// This replica has claimed it, and this is the age of the claim.
    Claimed { replica: String, age: Duration },
    /// The provider has given new tokens for it.
    Renewed {
        /// They open with this refresh token and the keys of the configuration.
        opens: bool,
    },
    /// The provider has refused it.
    Dead,
    /// Its session was ended by a logout, a revocation, or its lifetime.
    Ended,
    /// Its session was ended by another login in the same browser.
    Replaced,
}

/// Asks the engine what it knows of a refresh token. The error says in words why the engine does not tell.
pub(crate) async fn look_up(
    settings: &config::SharedState,
    key: SessionKey,
    refresh_token: &RefreshToken,
) -> Result<SessionRecord, String> {
    let keys = FleetKeys::new(&settings.keys).ok_or("`shared_state.keys` cannot be used")?;
    let names = key.names(&keys);
    let Some(Found { known, owner, age }) =
        look(settings, &names).await.map_err(|error| error.to_string())?
    else {
        return Ok(SessionRecord::Nothing);
    };
    Ok(match known.state {
        RecordState::Claimed => SessionRecord::Claimed { replica: owner, age },
        RecordState::Dead => SessionRecord::Dead,
        RecordState::Ended => SessionRecord::Ended,
        RecordState::Replaced => SessionRecord::Replaced,
        RecordState::Tokens => {
            let client = key.client_number.bytes();
            let open =
                |name| keys.open_result(&client, refresh_token, (name, known.state), known.key, &known.value);
            SessionRecord::Renewed { opens: names.get(known.key).and_then(open).is_some() }
        }
    })
}
