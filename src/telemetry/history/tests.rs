use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn counters(values: &[(Counted, &str, f64)]) -> Counters {
    let mut counters = Counters::new();
    for (counted, name, value) in values {
        counters.entry(*counted).or_default().insert((*name).to_owned(), *value);
    }
    counters
}

fn store(requests: f64) -> Counters {
    counters(&[(Counted::Requests, "store", requests)])
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_counter_becomes_rates_of_its_steps() {
    let mut history = History::default();
    for (at, value) in [(0, 0.0), (10, 50.0), (20, 50.0), (50, 110.0)] {
        history.record(seconds(at), &store(value));
    }
    let now = store(120.0);
    let recent = history.until(seconds(55), &now);
    // The long step is one in which the process was stopped.
    assert_eq!(recent.rates(Counted::Requests, Some("store")), [Some(5.0), Some(0.0), Some(2.0)]);
    assert_eq!(recent.rates(Counted::Requests, None).len(), 3);
    assert_eq!(recent.rates(Counted::Logins, None), [Some(0.0); 3], "never counted");
    let nothing = recent.total(Counted::Logins, None);
    assert!(nothing == 0.0 && nothing.is_sign_positive(), "shown as a number");
    assert_eq!(recent.total(Counted::Requests, None), 120.0);
}

#[test]
fn a_window_begins_with_the_look_before_it_and_ends_now() {
    let mut history = History::default();
    for step in 0..=12_u32 {
        history.record(STEP * step, &store(f64::from(step * 10)));
    }
    let now = store(125.0);
    let recent = history.until(seconds(125), &now);
    // At 60 s: 60.
    assert_eq!(recent.increase(Counted::Requests, None, MINUTE), 65.0);
    assert_eq!(recent.per_second(Counted::Requests, None, MINUTE), Some(1.0));
    assert_eq!(recent.increase(Counted::Requests, None, MINUTE * 15), 125.0, "as far as is known");
    assert_eq!(recent.increase(Counted::Requests, Some("forums"), MINUTE), 0.0);
}

#[test]
fn nothing_is_said_before_anything_is_known() {
    let (history, now) = (History::default(), store(7.0));
    let recent = history.until(seconds(3), &now);
    assert_eq!(recent.per_second(Counted::Requests, None, MINUTE), None);
    assert_eq!(recent.increase(Counted::Requests, None, MINUTE), 0.0);
    assert!(recent.rates(Counted::Requests, None).is_empty());
    let mut history = History::default();
    history.record(seconds(3), &now);
    assert_eq!(history.until(seconds(3), &now).per_second(Counted::Requests, None, MINUTE), None);
}

#[test]
fn series_come_late_and_stay_as_they_were() {
    let mut history = History::default();
    history.record(seconds(0), &store(1.0));
    history.record(seconds(10), &counters(&[(Counted::Requests, "forums", 20.0)]));
    history.record(seconds(20), &counters(&[(Counted::Requests, "forums", 20.0)]));
    let now = Counters::new();
    let recent = history.until(seconds(20), &now);
    assert_eq!(recent.rates(Counted::Requests, Some("forums")), [Some(2.0), Some(0.0)]);
    assert_eq!(recent.rates(Counted::Requests, Some("store")), [Some(0.0), Some(0.0)]);
    assert_eq!(recent.increase(Counted::Requests, None, MINUTE), 0.0, "never below nothing");
}

#[test]
fn it_is_bounded() {
    let mut history = History::default();
    for step in 0..1000_u32 {
        history.record(STEP * step, &store(f64::from(step)));
    }
    let now = store(999.0);
    let recent = history.until(STEP * 999, &now);
    assert_eq!(recent.rates(Counted::Requests, None).len(), STEPS);
    assert_eq!(recent.increase(Counted::Requests, None, MINUTE * 60), 90.0);
    assert_eq!(history.series[&Counted::Requests]["store"].len(), STEPS + 1);
}

#[test]
fn a_mean_needs_something_to_be_the_mean_of() {
    let mut history = History::default();
    let calls = |count, time| {
        counters(&[(Counted::ProviderCalls, "main", count), (Counted::ProviderSeconds, "main", time)])
    };
    let latency = (Counted::ProviderSeconds, Counted::ProviderCalls);
    for (at, now) in [(0, calls(0.0, 0.0)), (10, calls(4.0, 1.0)), (20, calls(4.0, 1.0))] {
        history.record(seconds(at), &now);
    }
    let now = calls(8.0, 5.0);
    let recent = history.until(seconds(21), &now);
    assert_eq!(recent.means(latency, None), [Some(0.25), None]);
    assert_eq!(recent.mean(latency, Some("main"), MINUTE), Some(0.625));
    assert_eq!(recent.mean(latency, Some("other"), MINUTE), None);
}
