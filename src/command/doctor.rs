//! `portcullis doctor`: asks the live providers whether the configuration can work, before users find out.

mod app;
mod clock_skew;
mod provider;
mod report;

pub use report::{Finding, Level, Report};

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::identity_provider::IdentityProvider;

/// Checks every identity provider, and every app's client at its provider. Nothing is changed there; each app costs
/// its provider one refused refresh and one refused login of a user that does not exist.
pub async fn run(config: &Config) -> Report {
    run_at(config, &SystemClock).await
}

/// [`run`] with a clock of one's own.
pub async fn run_at(config: &Config, clock: &dyn Clock) -> Report {
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
        for app in config.apps.iter().filter(|app| app.identity_provider == index) {
            let subject = format!("apps.{}", app.name);
            if reachable {
                app::check(&identity_provider, settings, app, &subject, &mut report).await;
            } else {
                report.warning(&subject, "not checked: the token endpoint is not known", "see the provider");
            }
        }
    }
    report
}

#[cfg(test)]
mod tests;
