//! Describes a file that should be PEM but is not, or that has something else in it.

use std::fmt;

use crate::system::file::{Unreadable, text};

/// The thing that was found in place of a certificate or a private key.
#[derive(Debug)]
pub(crate) enum NotPem {
    /// Nothing.
    Empty,
    /// Binary ASN.1: DER, or a container such as PKCS #12.
    Der,
    /// A private key, although something else was wanted.
    OnlyKey,
    /// A private key that needs a password.
    EncryptedKey,
    /// A certificate, although something else was wanted.
    OnlyCertificate,
    /// No text at all.
    NoText(Unreadable),
}

impl NotPem {
    /// Looks at a file that does not have what was wanted. Returns `None` for some other text.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        // Every certificate and every key is a SEQUENCE whose length field has two bytes or more (X.690 section 8.9).
        if matches!(bytes, [0x30, 0x81..=0x84, ..]) {
            return Some(Self::Der);
        }
        let text = match text(bytes) {
            Ok(text) => text,
            Err(error) => return Some(Self::NoText(error)),
        };
        let has =
            |label: &str| text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains(label));
        if text.trim().is_empty() {
            Some(Self::Empty)
        } else if has("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            Some(Self::EncryptedKey)
        } else if has("PRIVATE KEY") {
            Some(Self::OnlyKey)
        } else if has("CERTIFICATE-----") {
            Some(Self::OnlyCertificate)
        } else {
            None
        }
    }

    /// Returns the advice if certificates were wanted.
    pub(crate) const fn hint_for_certificate(&self) -> &'static str {
        match self {
            Self::Der => {
                "convert it: `openssl x509 -inform der -in FILE -out FILE.pem` (of PKCS #12: `openssl pkcs12 -nokeys`)"
            }
            Self::NoText(Unreadable::Utf16) => "save it as UTF-8",
            _ => "name a PEM file with the certificate, which begins with `-----BEGIN CERTIFICATE-----`",
        }
    }

    /// Returns the advice if a private key was wanted.
    pub(crate) const fn hint_for_key(&self) -> &'static str {
        match self {
            Self::Der => {
                "convert it: `openssl pkey -inform der -in FILE -out FILE.pem` (of PKCS #12: `openssl pkcs12 -nodes -nocerts`)"
            }
            Self::EncryptedKey => {
                "take the password off: `openssl pkey -in FILE -out FILE.plain`, and guard that file"
            }
            Self::NoText(Unreadable::Utf16) => "save it as UTF-8",
            _ => {
                "name a PEM file with an unencrypted private key, which begins with `-----BEGIN PRIVATE KEY-----`"
            }
        }
    }
}

impl fmt::Display for NotPem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "is empty",
            Self::Der => "is DER or PKCS #12, not PEM",
            Self::OnlyKey => "has a private key, and no certificate",
            Self::EncryptedKey => "has a private key that is encrypted",
            Self::OnlyCertificate => "has a certificate, and no private key",
            Self::NoText(error) => return write!(formatter, "has no PEM in it: {error}"),
        })
    }
}
