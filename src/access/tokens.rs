//! Access and refresh tokens as types: neither is taken for the other or for any text, and neither is shown.

use std::ops::Deref;

use crate::syntax::redacted::SecretText;

/// Makes a token's type: a text that is zeroised on drop, and that `Debug` does not show.
macro_rules! token_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(SecretText);

        impl $name {
            /// The token with this text.
            pub fn new(text: impl Into<SecretText>) -> Self {
                Self(text.into())
            }

            /// The token's text, to send it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                self.as_str()
            }
        }
    };
}

token_type! {
    /// The JWT of a session: verified or not, as its place says.
    AccessToken
}

token_type! {
    /// The token that gives a new JWT. To us it is opaque.
    RefreshToken
}
