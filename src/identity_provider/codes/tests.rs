//! The whole table, each way that it is used, and that nothing outside of it is a no.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::identity_provider::classify;
use crate::identity_provider::code_row::{AtLogin, AtRefresh};
use crate::identity_provider::dialect::kinds::tests::{JWT_API, STANDARD};
use crate::identity_provider::outcome::{ChallengeKind, LoginError, RefreshError, RevokeError};
use crate::identity_provider::provider_answer::Answer;

/// The page on which an operator reads it.
const PAGE: &str = include_str!("../../../docs/behaviour.md");

const CONTENT_TYPES: [&str; 6] = [
    "",
    "application/json",
    "application/problem+json",
    "text/html",
    "text/plain",
    "application/octet-stream",
];

/// Every status by which a provider may speak, and samples of the others.
fn statuses() -> impl Iterator<Item = u16> {
    (400..=499).chain([100, 200, 201, 202, 204, 206, 299, 301, 302, 307, 399, 500, 501, 502, 503, 504, 599])
}

/// The whole table, as a provider that keeps to the standards has it.
fn table() -> impl Iterator<Item = &'static Row> {
    rows(STANDARD)
}

fn answer(status: u16, media_type: &str, body: &str) -> Answer {
    let (media_type, body) = (media_type.to_owned(), body.as_bytes().to_vec().into());
    Answer { status, media_type, body, ..Answer::default() }
}

/// Returns the meaning of an answer, in the table's words; `None`: a session, or success.
fn meaning(answer: &Answer) -> (Option<AtLogin>, Option<AtRefresh>, AtLogout) {
    let login = match classify::login(STANDARD, answer, &[]) {
        Ok(_) => None,
        Err(LoginError::InvalidCredentials(_)) => Some(AtLogin::WrongPassword),
        Err(LoginError::Challenge(kind, ..)) => Some(AtLogin::Step(kind)),
        Err(LoginError::TooMany(..)) => Some(AtLogin::TooMany),
        Err(LoginError::Misconfigured(_)) => Some(AtLogin::Operator),
        Err(LoginError::Unavailable(..)) => Some(AtLogin::Passing),
    };
    let refresh = match classify::refresh(STANDARD, answer, &[]) {
        Ok(_) => None,
        Err(RefreshError::Dead(_)) => Some(AtRefresh::Dead),
        Err(RefreshError::Challenge(kind, _)) => Some(AtRefresh::Step(kind)),
        Err(RefreshError::Misconfigured(..)) => Some(AtRefresh::Operator),
        Err(RefreshError::Unavailable(..)) => Some(AtRefresh::Passing),
    };
    let logout = match classify::logout(STANDARD, answer, &[]) {
        Ok(()) => AtLogout::Done,
        Err(RevokeError::Refused(_)) => AtLogout::Refused,
        Err(RevokeError::Unavailable(_)) => AtLogout::Passing,
    };
    (login, refresh, logout)
}

/// An error answer that says this.
fn body(member: Member, value: &str) -> Value {
    match member {
        Member::Code => json!({ "error": value }),
        Member::Description => {
            let (code, text) = value.split_once(": ").unwrap();
            json!({ "error": code, "error_description": text })
        }
        Member::Reason => json!({ "error": "invalid_grant", "error_reason": value }),
        Member::Subcode => json!({ "error": "invalid_grant", "suberror": value }),
        Member::Number => json!({ "error": "invalid_grant", "error_codes": [value.parse::<u64>().unwrap()] }),
    }
}

fn values() -> impl Iterator<Item = (Member, &'static str)> {
    table().flat_map(|row| row.values.iter().map(|value| (row.member, *value)))
}

#[test]
fn every_value_means_what_its_row_says_with_every_status_and_content_type() {
    for (member, value) in values() {
        let body = body(member, value).to_string();
        for status in statuses() {
            let row =
                table().find(|row| row.member == member && row.values.contains(&value) && row.is_for(status));
            let row = row.filter(|_| is_heard(status));
            for content_type in CONTENT_TYPES {
                let (login, refresh, logout) = meaning(&answer(status, content_type, &body));
                let what = format!("{status} {content_type} {body}");
                let Some(row) = row else {
                    assert_eq!(refresh, Some(AtRefresh::Passing), "{what}");
                    let passing = if status == 429 { AtLogin::TooMany } else { AtLogin::Passing };
                    assert_eq!(login, Some(passing), "{what}");
                    continue;
                };
                assert_eq!(
                    (login, refresh, logout),
                    (Some(row.login), Some(row.refresh), row.logout),
                    "{what}"
                );
            }
        }
    }
}

/// Sorted, so that a value is found; and none is in two rows that are for the same answers.
#[test]
fn a_value_has_one_meaning() {
    for row in table() {
        assert!(!row.values.is_empty() && !row.by.is_empty());
        let number = |value: &&str| value.parse::<u64>().ok();
        assert!(row.values.is_sorted_by_key(|value| (number(value), *value)), "{:?}", row.values);
    }
    let mut seen: Vec<(Member, &str, &[u16])> = Vec::new();
    for row in table() {
        for value in row.values {
            let is_known = seen.iter().any(|(member, known, statuses)| {
                (*member, *known) == (row.member, *value)
                    && (statuses.is_empty() || *statuses == row.statuses)
            });
            assert!(!is_known, "{value} can never be reached");
            seen.push((row.member, value, row.statuses));
        }
    }
}

#[test]
fn what_is_precise_goes_before_the_code_beside_it() {
    let both = |members: Value| {
        let mut all = json!({ "error": "invalid_grant" });
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        meaning(&answer(400, "application/json", &all.to_string())).1
    };
    assert_eq!(both(json!({})), Some(AtRefresh::Dead));
    assert_eq!(both(json!({ "error_codes": [50076] })), Some(AtRefresh::Step(TwoFactor)));
    assert_eq!(both(json!({ "error_codes": [700_082], "suberror": "basic_action" })), Some(AtRefresh::Dead));
    assert_eq!(
        both(json!({ "error_codes": [1], "suberror": "basic_action" })),
        Some(AtRefresh::Step(AccountAction))
    );
    assert_eq!(
        both(json!({ "error_codes": [1], "suberror": "x", "error_reason": "y" })),
        Some(AtRefresh::Dead)
    );
    assert_eq!(both(json!({ "error_codes": "50076" })), Some(AtRefresh::Dead));
    assert_eq!(both(json!({ "error_subtype": "invalid_rapt" })), Some(AtRefresh::Step(AccountAction)));
}

/// Bodies of all kinds, whether anybody knows what they say or not.
fn bodies() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(values().collect::<Vec<_>>());
    prop_oneof![
        Just(String::new()),
        Just(String::from("<html>blocked</html>")),
        known.clone().prop_map(|(member, value)| body(member, value).to_string()),
        // Beside the `error`, and without one.
        known.prop_map(|(_, value)| json!({ "message": value, "errorCode": value, "code": value }).to_string()),
        "[a-z_]{1,20}".prop_map(|code| json!({ "error": code }).to_string()),
        ".{0,60}",
        proptest::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        r#"\{"error":(\{"code":"invalid_grant"\}|\["invalid_grant"\]|null|1|"[A-Z]{3,9}")\}"#,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    /// Only a known code with a status by which providers speak, or one of the documented bare answers, is a no.
    #[test]
    fn unclear_is_not_no(
        status in 100_u16..600,
        content_type in proptest::sample::select(&CONTENT_TYPES[..]),
        asks in proptest::option::of("Basic|Bearer"),
        body in bodies(),
    ) {
        let answer = Answer { asks_for: asks, ..answer(status, content_type, &body) };
        let known = find(STANDARD, &ErrorAnswer::read(&answer), status);
        let is_bare = body.is_empty()
            && matches!(content_type, "" | "application/json")
            && answer.asks_for.is_none();
        let (login, refresh, _) = meaning(&answer);
        if refresh == Some(AtRefresh::Dead) {
            prop_assert!(known.is_some_and(|row| row.refresh == Dead) || (known.is_none() && is_bare && status == 400));
        }
        if login == Some(AtLogin::WrongPassword) {
            let is_wrong = known.is_some_and(|row| row.login == AtLogin::WrongPassword);
            prop_assert!(is_wrong || (known.is_none() && is_bare && matches!(status, 400 | 401 | 403)));
        }
        if let Some(row) = known {
            prop_assert!(is_heard(status));
            prop_assert_eq!((login, refresh), (Some(row.login), Some(row.refresh)));
        }
        if !is_heard(status) {
            prop_assert_eq!(refresh, Some(AtRefresh::Passing));
        }
        let by_jwt_api = classify::refresh(JWT_API, &answer, &[]);
        if matches!(by_jwt_api, Err(RefreshError::Dead(_))) {
            let names_field = body.contains("refreshToken") && status == 400;
            let is_documented = (is_bare && matches!(status, 400 | 404)) || names_field;
            prop_assert!(is_documented || known.is_some_and(|row| row.refresh == Dead));
        }
    }
}

fn login_text(login: AtLogin) -> &'static str {
    match login {
        AtLogin::WrongPassword => "wrong password",
        AtLogin::Step(kind) => step_text(kind),
        AtLogin::TooMany => "429",
        AtLogin::Operator => "503, error",
        AtLogin::Passing => "503",
    }
}

fn refresh_text(refresh: AtRefresh) -> &'static str {
    match refresh {
        AtRefresh::Dead => "**ends**",
        AtRefresh::Step(kind) => step_text(kind),
        AtRefresh::Operator => "503, error",
        AtRefresh::Passing => "503",
    }
}

fn step_text(kind: ChallengeKind) -> &'static str {
    match kind {
        TwoFactor => "second factor",
        PasswordChange => "new password",
        AccountAction => "account action",
    }
}

fn line(row: &Row) -> String {
    let place = match row.member {
        Member::Code => "`error`",
        Member::Description => "`error: error_description`",
        Member::Reason => "`error_reason`",
        Member::Number => "`error_codes`",
        Member::Subcode => "`suberror`, `error_subtype`",
    };
    let values: Vec<_> = row.values.iter().map(|value| format!("`{value}`")).collect();
    let statuses: Vec<_> = row.statuses.iter().map(u16::to_string).collect();
    let with = if statuses.is_empty() { String::new() } else { format!(" with {}", statuses.join(", ")) };
    let logout = match row.logout {
        AtLogout::Done => "done",
        AtLogout::Refused => "given up",
        AtLogout::Passing => "tried again",
    };
    let (login, refresh, by) = (login_text(row.login), refresh_text(row.refresh), row.by);
    format!("| {place} | {}{with} | {login} | {refresh} | {logout} | {by} |", values.join(", "))
}

#[test]
fn the_page_has_every_row_and_no_other() {
    let section = PAGE.split("### Codes of providers").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap();
    let documented: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let table: Vec<_> = table().map(line).collect();
    assert_eq!(documented, table, "write this:\n{}", table.join("\n"));
}
