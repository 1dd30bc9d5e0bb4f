//! What a decision asks of the allocator: the hot path must stay as lean as it is, and invalid tokens must leave nothing.

#[path = "../benches/support/decisions.rs"]
mod decisions;
#[path = "../benches/support/invalid_tokens.rs"]
mod invalid_tokens;
#[path = "../benches/support/issuer.rs"]
mod issuer;
#[path = "../benches/support/store.rs"]
mod store;

use decisions::Prepared;
use http::{HeaderValue, header};
use invalid_tokens::invalid;
use issuer::Issuer;
use portcullis::access::decision::{Decision, decide};

#[test]
fn a_decision_about_a_known_session_allocates_nothing() {
    let prepared = Prepared::new(&Issuer::new("RS256").unwrap()).unwrap();
    let decide_once = || decide(&prepared.rules, &prepared.request(), &prepared.known());
    let first = allocation_counter::measure(|| {
        assert!(matches!(decide_once(), Decision::Forward(permit) if permit.identity().is_some()));
    });
    assert!(first.count_total > 0, "the verification is counted: {first:?}");
    let later = allocation_counter::measure(|| {
        assert!(matches!(decide_once(), Decision::Forward(permit) if permit.identity().is_some()));
    });
    assert_eq!(later.count_total, 0, "{later:?}");
}

#[test]
fn fifty_thousand_invalid_tokens_leave_nothing_behind() {
    let prepared = Prepared::new(&Issuer::new("EdDSA").unwrap()).unwrap();
    let session = prepared.headers[header::COOKIE].to_str().unwrap().to_owned();
    let good = session.split("access_token=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let decide_about = |token: &str| {
        let mut headers = prepared.headers.clone();
        let cookie = HeaderValue::from_str(&format!("__Host-access_token={token}")).unwrap();
        headers.insert(header::COOKIE, cookie);
        let mut request = prepared.request();
        request.headers = &headers;
        matches!(decide(&prepared.rules, &request, &prepared.known()), Decision::Forward(_))
    };
    assert!(!decide_about(&invalid(0, &good)), "what is set up once is set up");
    let flood = allocation_counter::measure(|| {
        for number in 0..50_000 {
            let token = invalid(number, &good);
            assert!(!decide_about(&token), "{token}");
        }
    });
    assert_eq!(flood.bytes_current, 0, "{flood:?}");
    let remembered = allocation_counter::measure(|| assert!(decide_about(&good)));
    assert!(remembered.bytes_current > 0, "a token that is kept would have been noticed: {remembered:?}");
}
