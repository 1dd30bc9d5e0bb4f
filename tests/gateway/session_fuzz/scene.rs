//! The gateway, the provider and the app of a story, and what disturbs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use portcullis::system::clock::{Clock, ManualClock};
use serde_json::json;

use crate::support::provider::Provider;
use crate::support::{App, Browser, Endpoint, Fault, Gateway, Request, Rotation, World};

pub(super) const BOUND: &str = "[session]\nbind_refresh = true\n";

/// `refresh.replay_window`.
pub(super) const WINDOW: Duration = Duration::from_millis(1500);

const ADMIN_TOKEN: &str = "an admin token of the tests";

/// The settings that a reload changes, and changes back.
const RELOADS: [&str; 4] = [
    "",
    "[refresh]\nahead = '0s'\n",
    "[identity_providers.main]\nrequest_timeout = '900ms'\nscope = 'openid'\n",
    "[apps.store]\nroles_claim = 'realm_access.roles'\n",
];

/// The gateway's clock, which steps.
#[derive(Debug)]
struct Skewed {
    base: Arc<ManualClock>,
    skew: AtomicI64,
}

impl Clock for Skewed {
    fn now(&self) -> u64 {
        self.base.now().saturating_add_signed(self.skew.load(Ordering::SeqCst))
    }
}

pub(super) struct Scene {
    pub(super) provider: Provider,
    pub(super) store: App,
    pub(super) gateway: Gateway,
    clock: Arc<ManualClock>,
    skewed: Arc<Skewed>,
    reloads: Vec<String>,
}

impl Scene {
    pub(super) async fn start(rotation: Rotation, settings: &str) -> Self {
        let base = format!(
            "[server]\nadmin_token = '{ADMIN_TOKEN}'\n[refresh]\nreplay_window = '1500ms'\n\
             [identity_providers.main]\nrequest_timeout = '700ms'\n"
        );
        let mut builder = World::builder().await.lay_over(&base).lay_over(settings);
        builder.provider.set(|settings| settings.rotation = rotation);
        let mut reloads = Vec::new();
        for change in RELOADS {
            let before = builder.text();
            builder = builder.lay_over(change);
            reloads.push(builder.text());
            builder = builder.replaced_by(&before);
        }
        let skewed = Arc::new(Skewed { base: builder.clock.clone(), skew: AtomicI64::new(0) });
        let gateway = Gateway::start(&builder.text(), skewed.clone()).await;
        gateway.ready().await;
        let (provider, store, clock) = (builder.provider, builder.store, builder.clock);
        Self { provider, store, gateway, clock, skewed, reloads }
    }

    pub(super) fn refreshes(&self) -> usize {
        self.provider.count(Endpoint::Refresh)
    }

    /// Time passes in leaps, clocks step, the provider is slow, wrong or away, and the configuration is read again.
    pub(super) async fn disturb(self: Arc<Self>, mut rng: Rng, until: Instant) {
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(rng.u64(20..150))).await;
            match rng.u32(0..20) {
                0..8 => self.clock.advance(rng.u64(1..60)),
                8..11 => self.clock.advance(310),
                11..14 => {
                    let skew = *rng.choice([0, 0, -3, 4, -25, 20, -400, 400].iter()).unwrap();
                    self.skewed.skew.store(skew, Ordering::SeqCst);
                }
                14..17 => {
                    let fault = match rng.u32(0..6) {
                        0 => Fault::status(500, "{}"),
                        1 => Fault::Reset,
                        2 => Fault::status(403, r#"{"message":"Forbidden"}"#),
                        _ => Fault::Delay(Duration::from_millis(rng.u64(1..1500))),
                    };
                    let endpoint =
                        *rng.choice([Endpoint::Refresh, Endpoint::Refresh, Endpoint::Login].iter()).unwrap();

                    self.provider.fail_next(endpoint, fault);
                }
                17 => self.provider.recover(),
                _ => {
                    let text = rng.choice(self.reloads.iter()).unwrap();
                    let config = portcullis::config::parse(text).unwrap().config;
                    let _ = self.gateway.reloader.reload(config).await;
                }
            }
        }
    }

    /// The gateway's clock is the provider's.
    pub(super) fn is_exact(&self) -> bool {
        self.skewed.skew.load(Ordering::SeqCst) == 0
    }

    /// All is as it should be again.
    pub(super) fn calm(&self) {
        self.skewed.skew.store(0, Ordering::SeqCst);
        self.provider.recover();
    }

    pub(super) async fn revoke_user(&self, user: &str) {
        let request =
            Request::post("/sessions/revoke").header("Authorization", &format!("Bearer {ADMIN_TOKEN}"));
        let body = json!({"sub": format!("id-of-{user}")});
        Browser::new(self.gateway.admin, "localhost").send(request.json(&body)).await.assert_status(204);
    }
}
