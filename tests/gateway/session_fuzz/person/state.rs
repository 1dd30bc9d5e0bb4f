//! The notes of a person: every login, its cookies, and what may have ended it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::{Story, subject};
use crate::session_fuzz::scene::WINDOW;
use crate::support::Answer;
use crate::support::gateway::ACCESS;

/// One login, of a user of its own.
pub(super) struct Login {
    pub(super) user: String,
    /// It came without the cookies of a session.
    pub(super) is_bare: bool,
    pub(super) sent_at: Instant,
    /// When its answer came.
    pub(super) came_at: Option<Instant>,
    /// The events that may have ended its session, and since when.
    pub(super) ends: Vec<(Instant, &'static str)>,
    /// Since when it is certainly over.
    pub(super) over_at: Option<(Instant, &'static str)>,
    /// The cookies that its browser had, one after the other, and when each were first sent.
    pub(super) states: Vec<(Jar, Option<Instant>)>,
}

pub(super) type Jar = BTreeMap<String, String>;

#[derive(Default)]
pub(super) struct State {
    pub(super) jar: Jar,
    /// Of the cookies in the jar.
    pub(super) login: Option<usize>,
    pub(super) logins: Vec<Login>,
    /// When the answer to the latest login came, and which that was.
    pub(super) latest: Option<(Instant, usize)>,
    pub(super) story: Story,
    /// The last events, for whoever has to find out why.
    pub(super) notes: VecDeque<String>,
    pub(super) began: Option<Instant>,
}

/// A request that was sent.
pub(super) struct Sent {
    pub(super) target: String,
    pub(super) jar: Jar,
    pub(super) login: Option<usize>,
    /// Which of the login's cookies.
    pub(super) state: usize,
    pub(super) at: Instant,
}

/// The end of each cookie.
pub(super) fn short(jar: &Jar) -> String {
    let ends = jar.values().map(|value| &value[value.len().saturating_sub(12)..]);
    ends.collect::<Vec<_>>().join(" ")
}

impl State {
    pub(super) fn note(&mut self, what: &str) {
        let at = self.began.get_or_insert_with(Instant::now).elapsed().as_millis();
        self.notes.push_back(format!("{at:>6} ms {what}"));
        if self.notes.len() > 200 {
            self.notes.pop_front();
        }
    }

    pub(super) fn notes(&self) -> String {
        self.notes.iter().fold(String::new(), |all, note| all + "\n" + note)
    }

    /// Of two logins at once that brought no cookies nobody can tell that they are of one browser, which keeps those of
    /// the last one. The other session has no end then.
    pub(super) fn is_one_of_many(&self, login: &Login) -> bool {
        let ended = |login: &Login, at: Instant| login.came_at.is_some_and(|came_at| came_at < at);
        let is_at_once = |other: &Login| !ended(other, login.sent_at) && !ended(login, other.sent_at);
        let mut others = self.logins.iter().filter(|other| other.user != login.user);
        login.is_bare && others.any(|other| other.is_bare && is_at_once(other))
    }

    /// It must not be found any more.
    pub(super) fn is_over(&mut self, login: Option<usize>, reason: &'static str) {
        let Some(number) = login else { return };
        // The cookies may be a mixture then.
        let is_one_of_many = self.is_one_of_many(&self.logins[number]);
        if !is_one_of_many {
            self.logins[number].over_at.get_or_insert_with(|| (Instant::now(), reason));
        }
    }

    /// From now on there is a reason for its end.
    pub(super) fn may_end(&mut self, login: Option<usize>, reason: &'static str) {
        if let Some(login) = login.and_then(|login| self.logins.get_mut(login)) {
            login.ends.push((Instant::now(), reason));
            let user = login.user.clone();
            self.note(&format!("{user} may end: {reason}"));
        }
    }

    /// The browser sent cookies, and is told that there is no session.
    pub(super) fn check_signed_out(&self, sent: &Sent, answer: &Answer) {
        let Some(login) = sent.login.map(|login| &self.logins[login]) else { return };
        // A refresh token is reused once later cookies were in use for longer than the replay window.
        let later = login.states.iter().skip(sent.state + 1).filter_map(|(_, sent_at)| *sent_at);
        let is_reused = later.into_iter().any(|sent_at| sent_at.elapsed() >= WINDOW);
        assert!(
            !login.ends.is_empty() || is_reused,
            "{} was signed out for no reason by {}: {} {}{}",
            login.user,
            sent.target,
            answer.head.first_line,
            answer.text(),
            self.notes()
        );
    }

    /// Does what the answer says. `composed_after`: its head was certainly written later than that.
    pub(super) fn keep_cookies(&mut self, answer: &Answer, sent: &Sent, composed_after: Option<Instant>) {
        let is_later_than_login = |this: &Self| {
            this.latest.zip(composed_after).is_some_and(|((came_at, latest), composed_after)| {
                let other = sent.login.map(|login| &this.logins[login]);
                let at_once = other.is_some_and(|other| this.is_one_of_many(other));
                composed_after > came_at && sent.login != Some(latest) && !at_once
            })
        };
        let cookies = answer.set_cookies();
        if !cookies.is_empty() {
            let new = cookies.iter().map(|cookie| (cookie.name.clone(), cookie.value.clone())).collect();
            self.note(&format!("{} sets {}", sent.target, short(&new)));
        }
        for cookie in cookies {
            if cookie.clears() {
                let is_of_latest = self.login.is_some() && self.login == self.latest.map(|(_, login)| login);
                assert!(
                    !(is_of_latest && is_later_than_login(self)),
                    "the late answer to {} takes the cookies of a login{}",
                    sent.target,
                    self.notes()
                );
                self.jar.remove(&cookie.name);
            } else {
                if cookie.name == ACCESS {
                    let user = subject(&cookie.value);
                    let login = self.logins.iter().position(|login| format!("id-of-{}", login.user) == user);
                    assert!(login.is_some(), "the cookies of another browser: {user}");
                    let is_older = login < self.login;
                    assert!(
                        !(is_older && is_later_than_login(self)),
                        "the late answer to {} writes old cookies over a login's{}",
                        sent.target,
                        self.notes()
                    );
                    self.login = login;
                }
                self.jar.insert(cookie.name, cookie.value);
            }
        }
        if self.jar.is_empty() {
            // Answers that were written one right after the other may have come in another order.
            let lost = self.login.take();
            self.may_end(lost, "cleared");
        }
        let jar = self.jar.clone();
        if let Some(login) = self.login.and_then(|login| self.logins.get_mut(login))
            && login.states.last().is_none_or(|(last, _)| *last != jar)
        {
            login.states.push((jar, None));
        }
    }
}
