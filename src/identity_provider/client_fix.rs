//! The operator's remedies if the provider refuses the client, for each error code of RFC 6749 section 5.2.

/// Returns the change that helps. `code` is the answer's `error`, or empty. `grant` is the type of the grant.
pub(super) fn client_fix(code: &str, grant: &str) -> String {
    match code {
        "unauthorized_client" | "unsupported_grant_type" => format!(
            "allow the grant `{grant}` for this client at the provider (Keycloak: \"Direct access grants\" for `password`), or \
             compare `client_secret` with the provider's: some say the same of a wrong one"
        ),
        "invalid_scope" => String::from(
            "compare `scope` of the identity provider, separated by spaces, with the scopes that this client may ask for",
        ),
        "invalid_target" => String::from(
            "compare `audience` or `resource` in `token_parameters` with what the provider knows",
        ),
        "invalid_request" => String::from(
            "the provider misses or dislikes a parameter, which it may name: see `token_parameters` and `client_auth`",
        ),
        _ => String::from(
            "ask `portcullis doctor`; compare `client_id`, `client_secret` and `client_auth` with the provider's",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_the_fix_that_is_behind_it() {
        for (code, grant, words) in [
            ("unauthorized_client", "password", "the grant `password`"),
            ("unauthorized_client", "refresh_token", "the grant `refresh_token`"),
            ("unsupported_grant_type", "password", "the grant `password`"),
            ("invalid_scope", "password", "compare `scope`"),
            ("invalid_target", "password", "`token_parameters`"),
            ("invalid_request", "password", "`token_parameters`"),
            ("invalid_client", "password", "`client_secret`"),
            ("", "password", "`client_secret`"),
        ] {
            let fix = client_fix(code, grant);
            assert!(fix.contains(words), "{words} in {fix}, of {code}");
        }
    }
}
