//! The users of the demo's identity provider.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;

const ITERATIONS: NonZeroU32 = match NonZeroU32::new(10_000) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};

/// One demo user. The password is public: it is printed at the start.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) sub: &'static str,
    pub(crate) username: &'static str,
    pub(crate) password: &'static str,
    pub(crate) name: &'static str,
    pub(crate) email: &'static str,
    pub(crate) roles: &'static [&'static str],
}

/// All of them. The subjects are what the apps know their members by.
pub(crate) const USERS: [User; 3] = [
    User {
        sub: "6c1f0a52-0d4e-4b7c-9a51-a11ce0000001",
        username: "alice",
        password: "wonderland",
        name: "Alice Liddell",
        email: "alice@example.com",
        roles: &["customer", "admin"],
    },
    User {
        sub: "6c1f0a52-0d4e-4b7c-9a51-b0b000000002",
        username: "bob",
        password: "builder",
        name: "Bob Mason",
        email: "bob@example.com",
        roles: &["customer"],
    },
    User {
        sub: "6c1f0a52-0d4e-4b7c-9a51-ca401e000003",
        username: "carol",
        password: "moderato",
        name: "Carol Ferrant",
        email: "carol@example.com",
        roles: &["customer", "moderator"],
    },
];

/// The users with their password hashes.
#[derive(Debug)]
pub(crate) struct Directory {
    hashes: Vec<(&'static User, [u8; 32])>,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self { hashes: USERS.iter().map(|user| (user, hash(user))).collect() }
    }

    /// The user with this name (in any case) or e-mail address, if the password is right.
    /// An unknown name takes as long as a wrong password.
    pub(crate) fn authenticate(&self, login: &str, password: &str) -> Option<&'static User> {
        let known = self.hashes.iter().find(|(user, _)| {
            user.username.eq_ignore_ascii_case(login) || user.email.eq_ignore_ascii_case(login)
        });
        let (user, hash) = known.or(self.hashes.first())?;
        let right = pbkdf2::verify(
            pbkdf2::PBKDF2_HMAC_SHA256,
            ITERATIONS,
            user.sub.as_bytes(),
            password.as_bytes(),
            hash,
        );
        (known.is_some() && right.is_ok()).then_some(*user)
    }
}

fn hash(user: &User) -> [u8; 32] {
    let mut hash = [0; 32];
    let salt = user.sub.as_bytes();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, user.password.as_bytes(), &mut hash);
    hash
}
