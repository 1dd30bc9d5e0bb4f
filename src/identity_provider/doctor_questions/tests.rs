//! Each verdict by the answers that lead to it.

use super::*;
use crate::identity_provider::dialect::kinds::tests::STANDARD;

fn answer(status: u16, body: &str) -> Answer {
    let body = body.as_bytes().to_vec().into();
    Answer { status, body, ..Answer::default() }
}

fn code(code: &str) -> String {
    serde_json::json!({ "error": code }).to_string()
}

#[test]
fn client_verdicts() {
    type Check = fn(&ClientVerdict) -> bool;
    let page = String::from("<html>blocked</html>");
    let cases: [(u16, String, Check); 12] = [
        (400, code("invalid_grant"), |verdict| *verdict == ClientVerdict::Accepted),
        (200, code("bad_refresh_token"), |verdict| *verdict == ClientVerdict::Accepted),
        (200, code("incorrect_client_credentials"), |verdict| matches!(verdict, ClientVerdict::Refused(_))),
        (403, page, |verdict| matches!(verdict, ClientVerdict::NotTheProvider(_))),
        (401, code("invalid_client"), |verdict| matches!(verdict, ClientVerdict::Refused(_))),
        (401, code("unauthorized_client"), |verdict| matches!(verdict, ClientVerdict::Refused(_))),
        (400, code("unsupported_grant_type"), |verdict| matches!(verdict, ClientVerdict::NoRefreshGrant(_))),
        (400, code("invalid_request"), |verdict| matches!(verdict, ClientVerdict::Unclear(_))),
        (400, String::new(), |verdict| matches!(verdict, ClientVerdict::Unclear(_))),
        (404, String::new(), |verdict| matches!(verdict, ClientVerdict::Unclear(_))),
        (500, code("invalid_grant"), |verdict| matches!(verdict, ClientVerdict::Unavailable(_))),
        (429, String::new(), |verdict| matches!(verdict, ClientVerdict::Unavailable(_))),
    ];
    for (status, body, check) in cases {
        let verdict = client_verdict(STANDARD, &answer(status, &body), true);
        assert!(check(&verdict), "{status} {body}: {verdict:?}");
    }
}

#[test]
fn password_grant_verdicts() {
    use PasswordGrantVerdict::{
        AcceptsAnyone, Allowed, NotAllowed, NotTheProvider, ScopeRefused, TargetRefused, Unavailable, Unclear,
    };
    type Check = fn(&PasswordGrantVerdict) -> bool;
    let disabled = r#"{"error":"invalid_grant","error_reason":"grant_type_disabled"}"#;
    let page = String::from("<html>blocked</html>");
    let cases: [(u16, String, Check); 17] = [
        (400, code("invalid_grant"), |verdict| *verdict == Allowed),
        (400, code("access_denied"), |verdict| *verdict == Allowed),
        (403, code("access_denied"), |verdict| matches!(verdict, Unclear(_))),
        (200, code("invalid_grant"), |verdict| *verdict == Allowed),
        (200, page.clone(), |verdict| matches!(verdict, NotTheProvider(_))),
        (403, page, |verdict| matches!(verdict, NotTheProvider(_))),
        (403, String::new(), |verdict| *verdict == Allowed),
        (400, code("unauthorized_client"), |verdict| matches!(verdict, NotAllowed(_))),
        (400, code("unsupported_grant_type"), |verdict| matches!(verdict, NotAllowed(_))),
        (400, disabled.to_owned(), |verdict| matches!(verdict, NotAllowed(_))),
        (400, code("invalid_scope"), |verdict| matches!(verdict, ScopeRefused(_))),
        (400, code("invalid_target"), |verdict| matches!(verdict, TargetRefused(_))),
        (400, code("invalid_resource"), |verdict| matches!(verdict, TargetRefused(_))),
        (400, String::new(), |verdict| matches!(verdict, Unclear(_))),
        (404, String::new(), |verdict| matches!(verdict, Unclear(_))),
        (503, String::new(), |verdict| matches!(verdict, Unavailable(_))),
        (200, String::from(r#"{"access_token":"a"}"#), |verdict| *verdict == AcceptsAnyone),
    ];
    for (status, body, check) in cases {
        let verdict = password_grant_verdict(STANDARD, &answer(status, &body));
        assert!(check(&verdict), "{status} {body}: {verdict:?}");
    }
}
