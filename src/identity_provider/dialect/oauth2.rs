//! `kind = "oauth2"`: any provider that keeps to the standards. They are the defaults of [`Dialect`]; here is only where its
//! endpoints are found.

use url::Url;

use crate::identity_provider::dialect::Dialect;
use crate::identity_provider::metadata_url;

/// Any OpenID Connect or OAuth 2 provider.
#[derive(Debug)]
pub(in crate::identity_provider) struct OAuth2;

impl Dialect for OAuth2 {
    fn metadata(&self, issuer: &Url) -> Vec<Url> {
        metadata_url::well_known(issuer)
    }
}
