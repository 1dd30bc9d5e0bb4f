//! The types of access and refresh tokens. They cannot be mistaken for each other or for other texts, and are never
//! shown.

use std::ops::Deref;

use crate::syntax::redacted::SecretText;

/// Makes a token's type. Its text is zeroised on drop, and `Debug` does not show it.
macro_rules! token_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(SecretText);

        impl $name {
            /// Makes a token with this text.
            pub fn new(text: impl Into<SecretText>) -> Self {
                Self(text.into())
            }

            /// Returns the token's text, for sending it.
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
    /// The JWT of a session. The type does not say whether it is verified.
    AccessToken
}

token_type! {
    /// The token that gives a new JWT. It is opaque to Portcullis.
    RefreshToken
}
