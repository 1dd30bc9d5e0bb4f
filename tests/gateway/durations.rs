//! Every configured duration has a test that says when it fires, and a line in `docs/behaviour.md`.

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/configuration.md");
const BEHAVIOUR: &str = include_str!("../../docs/behaviour.md");

/// Which test says when a duration fires, as `file::test`. One that has neighbours is tested with values above and
/// below theirs. A file `fleet/..` is in the suite that needs an engine.
const TESTED: &[(&str, &[&str])] = &[
    (
        "server.shutdown_delay",
        &["lifecycle::a_stop_is_announced_first_and_the_admin_listener_lives_to_the_end"],
    ),
    (
        "server.shutdown_grace",
        &[
            "lifecycle::a_stop_without_connections_is_immediate_and_one_with_an_endless_request_ends_after_its_grace",
            "lifecycle::sigterm_under_load_fails_no_request_and_ends_the_program_before_its_grace",
        ],
    ),
    ("server.tls.hsts", &["tls::answers_over_tls_say_so_for_the_future"]),
    (
        "server.limits.header_timeout",
        &[
            "client_timeouts::a_head_has_its_own_time_and_so_has_the_pause_before_it",
            "tls::a_slow_handshake_is_ended_and_keeps_nobody_waiting",
        ],
    ),
    (
        "server.limits.keep_alive_timeout",
        &[
            "client_timeouts::a_head_has_its_own_time_and_so_has_the_pause_before_it",
            "http2::idle_connections_are_closed",
        ],
    ),
    (
        "server.limits.login_body_timeout",
        &[
            "client_timeouts::a_login_may_take_as_long_as_is_configured",
            "login::a_body_that_never_comes_is_given_up",
        ],
    ),
    ("session.absolute_lifetime", &["ended_sessions::sessions_end_after_their_lifetimes"]),
    ("session.idle_lifetime", &["ended_sessions::sessions_end_after_their_lifetimes"]),
    ("session.revocation_lifetime", &["revocation_lifetime::a_revoked_jwt_is_refused_until_it_expires"]),
    (
        "refresh.ahead",
        &["refresh::a_jwt_about_to_expire_is_refreshed_early_but_a_short_one_not_before_three_quarters"],
    ),
    (
        "refresh.replay_window",
        &[
            "refresh_outcomes::old_cookies_shortly_after_a_refresh_get_the_same_new_tokens_without_a_call",
            "refresh_outcomes::old_cookies_after_the_replay_window_end_the_session",
        ],
    ),
    (
        "shared_state.command_timeout",
        &["fleet/hot_path::a_refresh_without_the_engine_is_503_and_keeps_the_cookies"],
    ),
    ("shared_state.settle", &["fleet/calls_under_way::a_node_that_missed_the_claim_leads_to_no_second_call"]),
    (
        "identity_providers.*.refresh_grace",
        &["fleet/replica_faults::with_a_grace_period_another_replica_takes_the_claim_of_a_killed_one"],
    ),
    ("identity_providers.*.leeway", &["provider_timeouts::an_expired_jwt_is_good_for_the_leeway"]),
    (
        "identity_providers.*.connect_timeout",
        &[
            "provider_timeouts::a_provider_that_cannot_be_connected_to_is_given_up_by_the_shorter_of_two_times",
        ],
    ),
    (
        "identity_providers.*.request_timeout",
        &[
            "provider_timeouts::a_provider_may_take_as_long_as_is_configured_for_a_refresh",
            "refresh_outcomes::a_slow_providers_late_answer_is_kept_and_served_next",
        ],
    ),
    (
        "identity_providers.*.jwks_refresh",
        &["jwks::keys_are_fetched_again_in_the_background_and_a_removed_one_counts_no_longer"],
    ),
    (
        "identity_providers.*.jwks_cooldown",
        &[
            "jwks::a_flood_of_unknown_key_ids_makes_one_fetch_per_cooldown",
            "jwks::an_unknown_key_id_from_a_request_triggers_a_fetch_that_makes_the_key_known",
        ],
    ),
    (
        "apps.*.resolve_interval",
        &[
            "moved_upstreams::a_kept_connection_to_an_address_that_the_name_has_lost_is_left_alone",
            "moved_upstreams::the_end_of_a_connection_makes_a_look_up",
        ],
    ),
    ("apps.*.cookies.refresh_token_lifetime", &["cookies::names_lifetime_and_same_site_are_configurable"]),
    (
        "apps.*.timeouts.connect",
        &["app_timeouts::an_app_that_cannot_be_connected_to_is_given_up_in_its_own_time"],
    ),
    ("apps.*.timeouts.response", &["app_timeouts::a_head_is_waited_for_as_long_as_is_configured"]),
    (
        "apps.*.timeouts.idle",
        &[
            "app_timeouts::a_body_is_waited_for_as_long_as_is_configured",
            "app_timeouts::a_pause_of_the_client_is_none_of_the_app",
            "slow_readers::a_client_that_reads_nothing_is_not_waited_for",
            "slow_readers::an_app_that_takes_nothing_of_an_upload_is_not_waited_for",
            "streaming::a_web_socket_that_idles_too_long_is_closed",
        ],
    ),
    (
        "apps.*.health_check.interval",
        &[
            "upstreams::with_one_upstream_down_no_request_fails_not_even_a_post",
            "upstreams::health_checks_take_an_upstream_out_and_back_in",
        ],
    ),
    (
        "apps.*.health_check.timeout",
        &[
            "app_timeouts::a_health_check_may_take_as_long_as_is_configured",
            "health_checks::an_address_that_does_not_come_to_an_end_is_down_and_holds_up_no_other",
        ],
    ),
];

/// The keys whose type is a duration; the page has all keys that there are.
fn durations() -> BTreeSet<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `")).filter_map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (key, kind) = (cells.next()?, cells.next()?);
        kind.starts_with("duration").then(|| key.trim_matches('`').to_owned())
    });
    rows.collect()
}

#[test]
fn every_duration_has_a_test() {
    let tested: BTreeSet<String> = TESTED.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(tested, durations());
    for test in TESTED.iter().flat_map(|(_, tests)| *tests) {
        let (file, name) = test.split_once("::").expect("a file and a test");
        let tests = format!("{}/tests", env!("CARGO_MANIFEST_DIR"));
        let path = match file.strip_prefix("fleet/") {
            // The suite is delivered as a whole. Without it, nothing says when these durations fire.
            Some(_) if !Path::new(&tests).join("fleet").exists() => continue,
            Some(file) => format!("{tests}/fleet/{file}.rs"),
            None => format!("{tests}/gateway/{file}.rs"),
        };
        let source = std::fs::read_to_string(&path).expect("a file of tests");
        assert!(source.contains(&format!("async fn {name}()")), "{test}");
    }
}

#[test]
fn the_page_says_what_every_duration_does() {
    let section =
        BEHAVIOUR.split("\n## Time-outs\n").nth(1).expect("the section").split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut told: BTreeSet<String> = cells.map(str::to_owned).collect();
    // It is no duration, but has one.
    assert!(told.remove("limits.body_min_rate"));
    assert_eq!(
        told,
        durations().into_iter().map(|key| key.replacen("server.limits.", "limits.", 1)).collect()
    );
}
