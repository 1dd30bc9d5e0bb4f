//! Finds the client that a token was issued to. Providers have different names for this claim. One rule covers all of
//! them.

use crate::access::claims::Claims;
use crate::access::signed_token::string;
use crate::access::token_error::TokenError;

/// A claim that names the client.
struct ClientClaim {
    name: &'static str,
    /// Tells whether the claim names the client in a token with these claims. In other tokens it may mean anything, and
    /// is ignored.
    counts: fn(issuer: &str, claims: &Claims) -> bool,
}

const CLIENT_CLAIMS: [ClientClaim; 4] = [
    // OpenID Connect Core section 2: Keycloak, Auth0, Entra ID (version 2.0).
    ClientClaim { name: "azp", counts: anywhere },
    // RFC 9068 section 2.2.
    ClientClaim { name: "client_id", counts: anywhere },
    // Okta, Cloud Foundry UAA.
    ClientClaim { name: "cid", counts: anywhere },
    // Entra ID (version 1.0), ADFS.
    ClientClaim { name: "appid", counts: is_of_microsoft },
];

/// Hosts of Entra ID's issuers, including the national clouds. A host with a leading dot has a subdomain for each
/// tenant.
const ENTRA_HOSTS: [&str; 11] = [
    "sts.windows.net",
    "sts.chinacloudapi.cn",
    "sts.microsoftonline.de",
    "login.windows.net",
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.microsoftonline.de",
    "login.chinacloudapi.cn",
    "login.partner.microsoftonline.cn",
    ".b2clogin.com",
    ".ciamlogin.com",
];

/// Returns all clients that a token says it was issued to, each with its claim. Returns an error if such a claim is not
/// a string.
pub(super) fn clients<'a>(
    issuer: &str,
    claims: &'a Claims,
) -> Result<Vec<(&'static str, &'a str)>, TokenError> {
    let mut clients = Vec::new();
    for claim in CLIENT_CLAIMS.iter().filter(|claim| (claim.counts)(issuer, claims)) {
        clients.extend(string(claims, claim.name)?.map(|client| (claim.name, client)));
    }
    Ok(clients)
}

fn anywhere(_: &str, _: &Claims) -> bool {
    true
}

/// Tells whether Microsoft issued a token. The issuer's host shows it, or two claims that only Microsoft writes: `ver`
/// as a string, together with the tenant (Entra ID) or the client's type (ADFS).
fn is_of_microsoft(issuer: &str, claims: &Claims) -> bool {
    let host = issuer.split_once("://").map_or("", |(_, rest)| rest);
    let host = host.split(['/', ':', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let is_text = |name| claims.get(name).is_some_and(serde_json::Value::is_string);
    ENTRA_HOSTS
        .iter()
        .any(|known| if known.starts_with('.') { host.ends_with(known) } else { host == *known })
        || is_text("ver") && (is_text("tid") || is_text("apptype"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(issuer: &str, claims: &Value) -> Result<Vec<(&'static str, String)>, TokenError> {
        let claims = Claims(claims.as_object().unwrap().clone().into());
        let found = clients(issuer, &claims)?;
        Ok(found.into_iter().map(|(claim, client)| (claim, client.to_owned())).collect())
    }

    #[test]
    fn every_claim_that_names_the_client() {
        for claim in ["azp", "client_id", "cid"] {
            let issuer = "https://id.example.com";
            assert_eq!(found(issuer, &json!({ claim: "store" })), Ok(vec![(claim, "store".to_owned())]));
            for wrong in [json!(1), json!(["store"]), json!({"store": true}), json!(true), json!(null)] {
                assert_eq!(found(issuer, &json!({ claim: wrong })), Err(TokenError::Claim(claim)), "{wrong}");
            }
        }
        let several = json!({"cid": "a", "azp": "b", "sub": "c", "client_id": "d"});
        let named: Vec<_> = found("x", &several).unwrap().into_iter().map(|(claim, _)| claim).collect();
        assert_eq!(named, ["azp", "client_id", "cid"]);
    }

    #[test]
    fn appid_names_the_client_in_tokens_of_microsoft_alone() {
        let of_issuer = |issuer: &str| found(issuer, &json!({"appid": "store"})).unwrap().len() == 1;
        for issuer in [
            "https://sts.windows.net/11111111-2222-3333-4444-555555555555/",
            "https://STS.windows.net/t/",
            "https://login.microsoftonline.com/t/v2.0",
            "https://login.microsoftonline.us/t/v2.0",
            "https://login.partner.microsoftonline.cn/t/v2.0",
            "https://sts.chinacloudapi.cn/t/",
            "https://tenant.ciamlogin.com/t/v2.0",
            "https://tenant.b2clogin.com/t/v2.0/",
        ] {
            assert!(of_issuer(issuer), "{issuer}");
        }
        for issuer in [
            "",
            "sts.windows.net",
            "https://id.example.com/sts.windows.net/",
            "https://sts.windows.net.example.com/t/",
            "https://not-sts.windows.net/t/",
            "https://b2clogin.com.example.com/",
            "https://evilb2clogin.com/",
        ] {
            assert!(!of_issuer(issuer), "{issuer}");
        }
        let by_marks = |claims: Value| found("https://id.example.com", &claims).map(|found| found.len());
        for (claims, expected) in [
            (json!({"appid": "a", "ver": "1.0", "tid": "t"}), Ok(1)),
            (json!({"appid": "a", "ver": "1.0", "apptype": "Public"}), Ok(1)),
            (json!({"appid": "a", "ver": "1.0", "tid": "t", "azp": "a"}), Ok(2)),
            (json!({"appid": 7, "ver": "1.0", "tid": "t"}), Err(TokenError::Claim("appid"))),
            (json!({"appid": 7}), Ok(0)),
            (json!({"appid": "a", "ver": "1.0"}), Ok(0)),
            (json!({"appid": "a", "tid": "t"}), Ok(0)),
            // Another provider has a tenant, Okta a version that is a number.
            (json!({"appid": "a", "ver": 1, "tid": "t"}), Ok(0)),
        ] {
            assert_eq!(by_marks(claims.clone()), expected, "{claims}");
        }
    }
}
