use proptest::prelude::*;

use super::*;
use crate::access::numbers::testing::PROVIDER;

fn key(byte: u8) -> SealKey {
    SealKey::new([byte; 32])
}

fn seal(keys: &[u8], app: &str, cookie: &str) -> Seal {
    Seal::new(&keys.iter().copied().map(key).collect::<Vec<_>>(), app, cookie).unwrap()
}

fn record() -> SessionRecord {
    SessionRecord {
        id: [7; 16],
        subject: Mark::subject(PROVIDER, "alice"),
        access_token: Mark::token(PROVIDER, "jwt"),
        access_token_expires_at: 3,
        started_at: 1,
        renewed_at: 2,
    }
}

#[test]
fn what_was_sealed_is_opened() {
    let seal = seal(&[1], "store", "refresh_token");
    let cookie = seal.close("opaque", &record()).unwrap();
    assert!(!cookie.contains("opaque"));
    let (token, opened) = seal.open(&cookie).unwrap();
    assert_eq!((token.as_str(), opened), ("opaque", record()));
}

#[test]
fn no_two_cookies_are_alike() {
    let seal = seal(&[1], "store", "refresh_token");
    assert_ne!(*seal.close("opaque", &record()).unwrap(), *seal.close("opaque", &record()).unwrap());
}

#[test]
fn another_app_another_cookie_or_another_key_opens_nothing() {
    let cookie = seal(&[1], "store", "refresh_token").close("opaque", &record()).unwrap();
    for (keys, app, name) in [
        ([1], "forums", "refresh_token"),
        ([1], "store", "access_token"),
        // The same bytes, divided otherwise.
        ([1], "storer", "efresh_token"),
        ([2], "store", "refresh_token"),
    ] {
        assert!(seal(&keys, app, name).open(&cookie).is_none(), "{app} {name}");
    }
}

#[test]
fn keys_are_replaced_with_an_overlap() {
    let (old, both, new) = (
        seal(&[1], "store", "refresh_token"),
        seal(&[2, 1], "store", "refresh_token"),
        seal(&[2], "store", "refresh_token"),
    );
    let of_old = old.close("opaque", &record()).unwrap();
    let of_both = both.close("opaque", &record()).unwrap();
    assert!(both.open(&of_old).is_some(), "the old key still opens");
    assert!(new.open(&of_both).is_some(), "the new key seals already");
    assert!(old.open(&of_both).is_none());
    assert!(new.open(&of_old).is_none(), "the old key is gone");
}

#[test]
fn the_key_of_another_id_is_not_tried() {
    let seal = seal(&[1, 2], "store", "refresh_token");
    let cookie = seal.close("opaque", &record()).unwrap();
    let (_, sealed) = cookie.split_once('.').unwrap();
    let other = key_id(&key(2));
    assert!(seal.open(&format!("{other}.{sealed}")).is_none());
}

#[test]
fn a_plain_refresh_token_is_none() {
    let seal = seal(&[1], "store", "refresh_token");
    for plain in ["", ".", "opaque", "eyJh.eyJz.c2ln", "v1.opaque", &format!("{}.", key_id(&key(1)))] {
        assert!(seal.open(plain).is_none(), "{plain}");
    }
    let empty = seal.close("", &record()).unwrap();
    assert!(seal.open(&empty).is_none(), "an empty refresh token is none");
}

#[test]
fn debug_shows_no_key() {
    let text = format!("{:?} {:?}", seal(b"K", "store", "refresh_token"), key(b'K'));
    assert!(!text.contains("75, 75") && !text.contains("KKK"), "{text}");
}

proptest! {
    #[test]
    fn every_token_survives(token in "\\PC{1,600}") {
        let seal = seal(&[1], "store", "refresh_token");
        let cookie = seal.close(&token, &record()).unwrap();
        prop_assert!(cookie.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        let (opened, _) = seal.open(&cookie).unwrap();
        prop_assert_eq!(opened.as_str(), token);
    }

    /// Whatever is changed in a cookie, it opens nothing.
    #[test]
    fn a_changed_cookie_opens_nothing(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9._-]") {
        let seal = seal(&[1], "store", "refresh_token");
        let cookie = seal.close("opaque", &record()).unwrap();
        let at = at.index(cookie.len());
        let mut changed = cookie.to_string();
        changed.replace_range(at..=at, &with);
        prop_assume!(changed != *cookie);
        prop_assert!(seal.open(&changed).is_none());
    }

    #[test]
    fn a_cookie_cut_short_opens_nothing(at in any::<prop::sample::Index>()) {
        let seal = seal(&[1], "store", "refresh_token");
        let cookie = seal.close("opaque", &record()).unwrap();
        prop_assert!(seal.open(&cookie[..at.index(cookie.len())]).is_none());
    }
}
