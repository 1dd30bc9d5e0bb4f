//! Whole sessions at random, on real sockets: browsers with several tabs, clients that leave, users that change, an app
//! and a provider that take their time, reloads, clocks that step, sealed and plain cookies, providers of every kind.
//!
//! The properties: a browser is signed out only by a logout, a revocation, another login, or a definite no of the
//! provider; what a logout, a revocation or another login has ended stays so, for whoever has kept its cookies; and
//! nobody ever gets what was meant for somebody else. Each login is of another user, so that any mix-up shows.
//!
//! `SESSION_FUZZ_SECONDS` says how long, `SESSION_FUZZ_SEED` which decisions are made. A machine's own timing is part
//! of the story, so that a seed makes a failure likely again, not certain. No property depends on how fast the machine
//! is.

mod person;
mod scene;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use person::{Person, Story};
use scene::Scene;

use crate::support::{Rotation, SEALED};

/// Browsers at once, and the tabs of each.
const PERSONS: usize = 6;
const TABS: usize = 3;

/// The settings of the provider and of the gateway.
const KINDS: [(Rotation, &str); 8] = [
    (Rotation::Rotate, ""),
    (Rotation::Rotate, SEALED),
    (Rotation::Rotate, scene::BOUND),
    (Rotation::Lenient, ""),
    (Rotation::Lenient, SEALED),
    (Rotation::Same, ""),
    (Rotation::Omit, SEALED),
    (Rotation::Same, scene::BOUND),
];

#[expect(clippy::disallowed_methods, reason = "the program is not concerned: it says how this test runs")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_signed_out_but_for_a_reason_and_nobody_gets_what_is_anothers() {
    let seconds = setting("SESSION_FUZZ_SECONDS", 10);
    let seed = setting("SESSION_FUZZ_SEED", 1);
    println!("SESSION_FUZZ_SEED={seed} SESSION_FUZZ_SECONDS={seconds}");
    let of_each = Duration::from_secs(seconds) / u32::try_from(KINDS.len()).unwrap();
    let mut told = Story::default();
    for (number, (rotation, settings)) in KINDS.into_iter().enumerate() {
        let rng = Rng::with_seed(seed.wrapping_mul(1000) + number as u64);
        let story = run(rotation, settings, rng, of_each).await;
        println!("{rotation:?} {settings:?}: {story:?}");
        told.add(&story);
    }
    // What is to be survived has happened.
    assert!(told.requests > 100 && told.left > 10 && told.logins > 10 && told.refreshes > 10, "{told:?}");
    assert!(told.ghosts > 0, "{told:?}");
    assert!(told.signed_in * 4 > told.requests, "many requests find their session: {told:?}");
}

async fn run(rotation: Rotation, settings: &str, mut rng: Rng, time: Duration) -> Story {
    let scene = Arc::new(Scene::start(rotation, settings).await);
    let until = Instant::now() + time;
    let mut tabs = tokio::task::JoinSet::new();
    let persons: Vec<_> = (0..PERSONS).map(|number| Arc::new(Person::new(number))).collect();
    for person in &persons {
        for _ in 0..TABS {
            let (person, scene, rng) = (Arc::clone(person), Arc::clone(&scene), rng.fork());
            tabs.spawn(async move { person.tab(&scene, rng, until).await });
        }
    }
    let disturbing = tokio::spawn(Arc::clone(&scene).disturb(rng.fork(), until));
    while let Some(tab) = tabs.join_next().await {
        if let Err(error) = tab {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    disturbing.await.unwrap();
    scene.calm();
    let mut story = Story::default();
    for person in persons {
        person.is_as_it_should_be(&scene).await;
        person.go_home(&scene).await;
        story.add(&person.story());
    }
    story.refreshes = scene.refreshes();
    story
}
