//! The keys that verify a JWT. They come from a file, or from the provider.

use std::sync::Arc;

use crate::access::key_set::KeySet;
use crate::command::explain::explain_error::ExplainError;
use crate::config;
use crate::identity_provider::IdentityProvider;

/// The keys, and their source.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) set: Arc<KeySet>,
    /// The source of the keys, in words.
    pub(super) origin: String,
}

impl Keys {
    /// Reads a JWKS, or else asks the provider. If the provider cannot be asked, the set is empty, and `origin` says
    /// why.
    pub(super) async fn get(
        provider: &config::IdentityProvider,
        jwks: Option<&[u8]>,
    ) -> Result<Self, ExplainError> {
        if let Some(secret) = &provider.hmac_secret {
            let set = Arc::new(KeySet::from_hmac_secret(secret.expose().as_bytes()));
            return Ok(Self { set, origin: String::from("`hmac_secret`") });
        }
        if let Some(json) = jwks {
            let set = KeySet::from_jwks(json, &provider.algorithms)
                .map_err(|error| ExplainError::Jwks(error.to_string()))?;
            return Ok(Self { origin: format!("{} from the file", set.len()), set: Arc::new(set) });
        }
        let asked = match IdentityProvider::new(provider) {
            Ok(provider) => provider.probe_key_set().await,
            Err(error) => Err(error.to_string()),
        };
        Ok(match asked {
            Ok(set) => Self { origin: format!("{} from the identity provider", set.len()), set },
            Err(problem) => Self {
                origin: format!("none: {problem}; `--jwks FILE` needs no provider"),
                ..Self::default()
            },
        })
    }
}
