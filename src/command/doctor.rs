//! `portcullis doctor`: asks the live providers whether the configuration can work, before users find out.

mod app;
mod clock_skew;
mod cookie_size;
mod provider;
mod report;
mod test_user;

pub use report::{Finding, Level, Report};

use self::test_user::Trial;
use crate::config::Config;
use crate::identity_provider::{Credentials, IdentityProvider};
use crate::system::clock::{Clock, SystemClock};

/// Checks every identity provider, and every app's client at its provider. Nothing is changed there; each app costs
/// its provider one refused refresh and one refused login of a user that does not exist.
///
/// With a test user, whom every app is tried with, it logs in, refreshes and logs out, too, and tries a replaced refresh
/// token. No session is left.
pub async fn run(config: &Config, test_user: Option<&Credentials>) -> Report {
    run_at(config, test_user, &SystemClock).await
}

/// [`run`] with a clock of one's own.
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
    report
}

#[cfg(test)]
mod tests;
