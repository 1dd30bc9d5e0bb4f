//! The provider. It replaces each refresh token, and ends all tokens of a login if a replaced one comes back.

use super::history::Millis;

/// A refresh token: a login and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Token {
    pub(super) family: u32,
    pub(super) number: u32,
}

impl Token {
    /// Returns the token that replaces this one.
    pub(super) const fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

/// All tokens of a login.
#[derive(Debug)]
struct Family {
    current: u32,
    is_over: bool,
    replaced_at: Millis,
}

/// The provider.
#[derive(Debug)]
pub(super) struct Provider {
    families: Vec<Family>,
    /// The time for which a replaced refresh token is taken once more.
    grace: Millis,
}

/// The provider's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Tokens(Token),
    Refused,
    /// A replaced token came back, so the login is over.
    Reuse,
}

impl Provider {
    pub(super) const fn new(grace: Millis) -> Self {
        Self { families: Vec::new(), grace }
    }

    /// Logs in, and returns the first refresh token.
    pub(super) fn log_in(&mut self) -> Token {
        let family = u32::try_from(self.families.len()).unwrap();
        self.families.push(Family { current: 0, is_over: false, replaced_at: 0 });
        Token { family, number: 0 }
    }

    /// Decides on a refresh token.
    pub(super) fn decide(&mut self, token: Token, now: Millis) -> Decision {
        let family = &mut self.families[token.family as usize];
        if family.is_over {
            return Decision::Refused;
        }
        if token.number == family.current {
            family.current += 1;
            family.replaced_at = now;
            return Decision::Tokens(token.next());
        }
        if token.number + 1 == family.current && now < family.replaced_at + self.grace {
            return Decision::Tokens(token.next());
        }
        family.is_over = true;
        Decision::Reuse
    }

    /// Tells whether the login is over.
    pub(super) fn is_over(&self, token: Token) -> bool {
        self.families[token.family as usize].is_over
    }
}
