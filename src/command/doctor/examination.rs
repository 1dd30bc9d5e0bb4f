//! Examines every provider and every client, one after the other, and then the engine.

use crate::command::doctor::report::Report;
use crate::command::doctor::test_user::Trial;
use crate::command::doctor::{app, provider, shared_state};
use crate::config::Config;
use crate::identity_provider::{Credentials, IdentityProvider};
use crate::system::clock::{Clock, SystemClock};

/// Checks every identity provider, and every app's client at its provider. The checks change nothing at the provider.
/// For each app, they cause one refused refresh and one refused login of a user that does not exist.
///
/// With a test user, it also logs in to every app, refreshes, tries a replaced refresh token, and logs out. No session
/// is left.
pub async fn run(config: &Config, test_user: Option<&Credentials>) -> Report {
    run_at(config, test_user, &SystemClock).await
}

/// Does the same as [`run`], but takes the clock from the caller.
pub async fn run_at(config: &Config, test_user: Option<&Credentials>, clock: &dyn Clock) -> Report {
    let mut report = Report::default();
    for (index, settings) in config.identity_providers.iter().enumerate() {
        let subject = format!("identity_providers.{}", settings.name);
        let identity_provider = match IdentityProvider::new(settings) {
            Ok(identity_provider) => identity_provider,
            Err(error) => {
                report.error(&subject, error.to_string(), "correct the setting and try again");
                continue;
            }
        };
        let reachable = provider::check(&identity_provider, settings, &subject, clock, &mut report).await;
        for app in &config.apps {
            if app.identity_provider != index {
                continue;
            }
            let subject = format!("apps.{}", app.name);
            if !reachable {
                report.warning(&subject, "not checked: the token endpoint is not known", "see the provider");
                continue;
            }
            let is_usable = app::check(&identity_provider, settings, app, &subject, &mut report).await;
            if let Some(user) = test_user.filter(|_| is_usable) {
                let trial = Trial {
                    provider: &identity_provider,
                    config,
                    settings,
                    app,
                    user,
                    subject: &subject,
                    clock,
                };
                trial.run(&mut report).await;
            }
        }
    }
    if let Some(settings) = &config.shared_state {
        shared_state::check(config, settings, clock, &mut report).await;
    }
    report
}
