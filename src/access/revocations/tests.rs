use crate::access::numbers::testing::{OTHER_PROVIDER, PROVIDER};
use crate::access::revocations::entry::MAX_PER_PART;
use crate::access::revocations::{EndedBy, Mark, Revocation, Revocations, TokenMarks};

const NOW: u64 = 1_800_000_000;

fn marks(sid: Option<&str>, jti: &str, sub: &str) -> TokenMarks {
    TokenMarks {
        session: sid.map(|sid| Mark::session(PROVIDER, sid)),
        token: Mark::token_id(PROVIDER, jti),
        subject: Mark::subject(PROVIDER, sub),
        usable_until: 0,
    }
}

const SESSION: Option<Revocation> = Some(Revocation::Session(EndedBy::Revocation));

#[test]
fn by_session_token_and_subject() {
    let list = Revocations::default();
    let jwt = marks(Some("s1"), "t1", "alice");
    assert_eq!(list.of_token(&jwt, Some(NOW), NOW), None);

    list.revoke(Mark::token_id(PROVIDER, "t1"), EndedBy::Revocation, NOW + 60, NOW);
    assert_eq!(list.of_token(&jwt, Some(NOW), NOW), Some(Revocation::Token));
    assert_eq!(list.of_token(&marks(Some("s1"), "t2", "alice"), Some(NOW), NOW), None);

    list.revoke(Mark::session(PROVIDER, "s1"), EndedBy::AnotherLogin, NOW + 60, NOW);
    let told = Some(Revocation::Session(EndedBy::AnotherLogin));
    assert_eq!(list.of_token(&jwt, Some(NOW), NOW), told, "the session counts more than the token");
    assert_eq!(list.of_token(&marks(Some("s2"), "t3", "alice"), Some(NOW), NOW), None);
    assert_eq!(list.of_token(&marks(None, "t3", "alice"), Some(NOW), NOW), None);

    list.revoke_until(Mark::subject(PROVIDER, "alice"), NOW - 10, NOW + 60, NOW);
    let other = marks(None, "t4", "alice");
    assert_eq!(list.of_token(&other, Some(NOW - 10), NOW), SESSION);
    assert_eq!(list.of_token(&other, None, NOW), SESSION, "who knows how old it is?");
    assert_eq!(list.of_token(&other, Some(NOW - 9), NOW), None, "issued later");
    assert_eq!(list.of_token(&marks(None, "t4", "bob"), Some(NOW - 10), NOW), None);
}

#[test]
fn providers_kinds_and_values_do_not_mix() {
    let all = [
        Mark::session(PROVIDER, "x"),
        Mark::session(OTHER_PROVIDER, "x"),
        Mark::token_id(PROVIDER, "x"),
        Mark::token(PROVIDER, "x"),
        Mark::subject(PROVIDER, "x"),
        Mark::sealed_session(PROVIDER, b"x"),
        Mark::session(PROVIDER, "y"),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all.iter().skip(index + 1).all(|other| one != other), "{index}");
    }
}

#[test]
fn an_entry_goes_when_its_time_is_over() {
    let list = Revocations::default();
    list.revoke(Mark::session(PROVIDER, "s1"), EndedBy::Revocation, NOW + 60, NOW);
    assert_eq!(list.of_session(Mark::session(PROVIDER, "s1"), NOW + 59), SESSION);
    assert_eq!(list.of_session(Mark::session(PROVIDER, "s1"), NOW + 60), None);
}

#[test]
fn of_two_revocations_the_wider_one_holds() {
    let list = Revocations::default();
    let (alice, jwt) = (Mark::subject(PROVIDER, "alice"), marks(None, "t", "alice"));
    list.revoke_until(alice, NOW, NOW + 60, NOW);
    list.revoke_until(alice, NOW - 100, NOW + 10, NOW);
    assert_eq!(list.of_token(&jwt, Some(NOW), NOW + 59), SESSION);
    assert_eq!(list.len(), 1);
}

#[test]
fn the_list_is_bounded_and_the_first_to_go_makes_room() {
    let list = Revocations::default();
    // All in one part: their first two bytes are the same.
    let mark = |number: u64| {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        Mark::from_bytes(bytes)
    };
    let count = MAX_PER_PART as u64 + 10;
    for number in 0..count {
        list.revoke(mark(number), EndedBy::Revocation, NOW + 1000 + number, NOW);
    }
    assert_eq!(list.len(), MAX_PER_PART);
    assert_eq!(list.of_session(mark(9), NOW), None);
    assert_eq!(list.of_session(mark(10), NOW), SESSION);
    assert_eq!(list.of_session(mark(count - 1), NOW), SESSION);
}

#[test]
fn entries_whose_time_is_over_are_thrown_out() {
    let list = Revocations::default();
    for number in 0..20_000_u64 {
        list.revoke(Mark::token_id(PROVIDER, &number.to_string()), EndedBy::Revocation, NOW + 1, NOW);
    }
    assert_eq!(list.len(), 20_000);
    for number in 0..20_000_u64 {
        list.revoke(
            Mark::token_id(OTHER_PROVIDER, &number.to_string()),
            EndedBy::Revocation,
            NOW + 9,
            NOW + 2,
        );
    }
    assert!(list.len() < 20_100, "{}", list.len());
}

#[test]
fn a_login_is_admitted_and_what_was_before_it_stays_revoked() {
    let list = Revocations::default();
    let jwt = marks(Some("s1"), "t1", "alice");
    list.revoke(Mark::session(PROVIDER, "s1"), EndedBy::Revocation, NOW + 60, NOW);
    list.revoke_until(Mark::subject(PROVIDER, "alice"), NOW, NOW + 60, NOW);
    assert_eq!(list.of_token(&jwt, Some(NOW), NOW), SESSION);
    list.admit(&jwt, Some(NOW), NOW);
    assert_eq!(list.of_token(&jwt, Some(NOW), NOW), None);
    assert_eq!(list.of_token(&jwt, Some(NOW + 5), NOW), None);
    assert_eq!(list.of_token(&jwt, Some(NOW - 1), NOW), SESSION);
    assert_eq!(list.of_token(&marks(Some("s2"), "t2", "alice"), Some(NOW - 1), NOW), SESSION);
    list.revoke(Mark::session(PROVIDER, "s1"), EndedBy::Revocation, NOW + 60, NOW);
    assert_eq!(list.of_token(&jwt, Some(NOW + 5), NOW), SESSION, "revoked again");
}

#[test]
fn nothing_is_admitted_that_was_not_revoked_and_no_single_token_is() {
    let list = Revocations::default();
    let jwt = marks(Some("s1"), "t1", "alice");
    list.revoke(Mark::token_id(PROVIDER, "t1"), EndedBy::Revocation, NOW + 60, NOW);
    list.admit(&jwt, Some(NOW), NOW);
    assert_eq!(list.of_token(&jwt, Some(NOW), NOW), Some(Revocation::Token));
    assert_eq!(list.len(), 1);
}

#[test]
fn a_revocation_that_refuses_a_jwt_is_kept_until_that_has_expired() {
    type Revoke = fn(&Revocations, &TokenMarks);
    let by: [(&str, Revoke); 3] = [
        ("sid", |list, jwt| list.revoke(jwt.session.unwrap(), EndedBy::Revocation, NOW + 60, NOW)),
        ("sub", |list, jwt| list.revoke_until(jwt.subject, NOW, NOW + 60, NOW)),
        ("jti", |list, jwt| list.revoke(jwt.token, EndedBy::Revocation, NOW + 60, NOW)),
    ];
    for (what, revoke) in by {
        let jwt = TokenMarks { usable_until: NOW + 3606, ..marks(Some("s1"), "t1", "alice") };
        let list = Revocations::default();
        revoke(&list, &jwt);
        assert_eq!(list.of_token(&jwt, Some(NOW), NOW + 60), None, "nobody has brought it: {what}");
        revoke(&list, &jwt);
        assert!(list.of_token(&jwt, Some(NOW), NOW + 59).is_some());
        assert!(list.of_token(&jwt, Some(NOW), NOW + 3605).is_some(), "{what}");
        assert_eq!(list.of_token(&jwt, Some(NOW), NOW + 3606), None, "{what}");
        // What is not refused prolongs nothing.
        let other = Revocations::default();
        other.revoke_until(jwt.subject, NOW - 10, NOW + 60, NOW);
        assert_eq!(other.of_token(&jwt, Some(NOW), NOW), None);
        assert_eq!(other.of_token(&jwt, Some(NOW - 10), NOW + 60), None, "{what}");
    }
}

#[test]
fn a_provider_s_horizon_is_what_its_jwts_tell() {
    let list = Revocations::default();
    let jwt = |usable_until| TokenMarks { usable_until, ..marks(None, "t1", "alice") };
    assert_eq!(list.horizon(PROVIDER, NOW), NOW);
    list.saw(PROVIDER, &jwt(NOW + 300), Some(NOW - 100), NOW);
    assert_eq!(list.horizon(PROVIDER, NOW), NOW + 400, "others may be as fresh as they can be");
    assert_eq!(list.horizon(PROVIDER, NOW + 1000), NOW + 1400);
    assert_eq!(list.horizon(OTHER_PROVIDER, NOW), NOW);
    list.saw(PROVIDER, &jwt(NOW + 200), None, NOW);
    assert_eq!(list.horizon(PROVIDER, NOW), NOW + 400);
    list.saw(PROVIDER, &jwt(u64::MAX), Some(0), NOW);
    assert_eq!(
        list.horizon(PROVIDER, NOW),
        NOW + 400 * 86_400,
        "one that never ends does not keep all others for ever"
    );
}

#[test]
fn a_login_whose_jwt_does_not_say_when_it_was_issued_is_admitted_alone() {
    for by_subject in [true, false] {
        let list = Revocations::default();
        let marks = |jti| TokenMarks { usable_until: NOW + 60, ..marks(Some("s1"), jti, "alice") };
        let (old, new) = (marks("old"), marks("new"));
        let revoke = |now: u64| {
            if by_subject {
                list.revoke_until(Mark::subject(PROVIDER, "alice"), now, now + 60, now);
            } else {
                list.revoke(Mark::session(PROVIDER, "s1"), EndedBy::Revocation, now + 60, now);
            }
        };
        revoke(NOW);
        assert_eq!(list.of_token(&new, None, NOW), SESSION);
        list.admit(&new, None, NOW);
        assert_eq!(list.of_token(&new, None, NOW), None, "{by_subject}");
        assert_eq!(list.of_token(&old, None, NOW), SESSION, "{by_subject}");
        revoke(NOW + 5);
        assert_eq!(list.of_token(&new, None, NOW + 5), SESSION, "revoked again: {by_subject}");
    }
}

#[test]
fn a_session_is_as_old_as_its_beginning_and_old_where_nothing_tells() {
    let list = Revocations::default();
    let jwt = marks(Some("s1"), "t1", "alice");
    assert_eq!(list.of_session_since(&jwt, None, NOW), None, "nothing is revoked");
    list.revoke_until(Mark::session(PROVIDER, "s1"), NOW, NOW + 60, NOW);
    for (since, expected) in [(None, SESSION), (Some(NOW), SESSION), (Some(NOW + 1), None)] {
        assert_eq!(list.of_session_since(&jwt, since, NOW), expected, "{since:?}");
    }
    assert_eq!(list.of_token(&jwt, Some(NOW + 1), NOW), None, "the JWT alone is new");
}

#[test]
fn what_comes_again_is_known_as_long_as_it_counts() {
    let list = Revocations::default();
    let token = Mark::logout_token(PROVIDER, "head.claims.signature");
    assert!(list.is_first(token, NOW + 10, NOW).is_some());
    assert!(list.is_first(token, NOW + 10, NOW + 9).is_none());
    assert!(
        list.is_first(Mark::logout_token(OTHER_PROVIDER, "head.claims.signature"), NOW + 10, NOW).is_some(),
        "another provider's"
    );
    assert!(
        list.is_first(Mark::logout_token(PROVIDER, "head.claims.other"), NOW + 10, NOW).is_none(),
        "signed once more"
    );
    assert!(list.is_first(Mark::logout_token(PROVIDER, "head.others.signature"), NOW + 10, NOW).is_some());
    assert!(list.is_first(token, NOW + 30, NOW + 10).is_some());
}
