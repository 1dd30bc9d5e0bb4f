//! What an operator does about a provider that refuses the client, by the error code of RFC 6749 section 5.2.

/// What to change, by the reason that the log shows: `status 400, error unauthorized_client, …`. `grant` is the grant's type.
pub(crate) fn client_fix(reason: &str, grant: &str) -> String {
    let code = reason.split(", ").find_map(|part| part.strip_prefix("error ")).unwrap_or_default();
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
        for (reason, grant, words) in [
            (
                "status 400, error unauthorized_client, error_description Client not allowed",
                "password",
                "the grant `password`",
            ),
            ("status 400, error unauthorized_client", "refresh_token", "the grant `refresh_token`"),
            ("status 400, error unsupported_grant_type", "password", "the grant `password`"),
            (
                "status 400, error invalid_scope, error_description Invalid scopes: a",
                "password",
                "compare `scope`",
            ),
            ("status 400, error invalid_target", "password", "`token_parameters`"),
            ("status 400, error invalid_request, error_description x", "password", "`token_parameters`"),
            ("status 401, error invalid_client", "password", "`client_secret`"),
            ("status 401", "password", "`client_secret`"),
            // What the provider writes for people is no code.
            (
                "status 401, error invalid_client, error_description error invalid_scope",
                "password",
                "`client_auth`",
            ),
        ] {
            let fix = client_fix(reason, grant);
            assert!(fix.contains(words), "{words} in {fix}, of {reason}");
        }
    }
}
