//! The admin listener answers requests for an address, for `localhost` and for the names that it was told. A page of
//! another site whose name has come to point here (DNS rebinding) sends that name.

use portcullis::system::clock::{Clock, SystemClock};

use crate::support::client::raw;
use crate::support::{Browser, World, patiently};

const NAMES: &str = "[server]\nadmin_hosts = ['portcullis.monitoring.svc', 'Gateway-1']\nadmin_token = 'admin-token-of-the-tests'\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_ask() {
    let world = World::with(NAMES).await;
    let port = world.gateway.admin.port();
    let good = [
        "127.0.0.1",
        "10.42.0.17",
        "[::1]",
        "[fe80::1]",
        "localhost",
        "LocalHost",
        "localhost.",
        "gateway.localhost",
        "portcullis.monitoring.svc",
        "PORTCULLIS.monitoring.svc.",
        "gateway-1",
    ];
    let bad = [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "monitoring.svc",
        "x.portcullis.monitoring.svc",
        "gateway-2",
        "2130706433",
        "127.1",
        "store.example.com",
    ];
    let paths = ["/", "/status.json", "/metrics", "/sessions/revoke", "/nothing"];
    for host in good {
        for host in [host.to_owned(), format!("{host}:{port}"), format!("{host}:80")] {
            let mut browser = Browser::new(world.gateway.admin, &host);
            for path in paths {
                assert_ne!(browser.get(path).await.status(), 421, "{host}{path}");
            }
            browser.get("/metrics").await.assert_status(200);
        }
    }
    for host in bad {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let mut browser = Browser::new(world.gateway.admin, &host);
            for path in paths {
                let answer = browser.get(path).await;
                answer.assert_problem(421, "unknown_host");
                assert!(answer.text().contains("server.admin_hosts"), "{}", answer.text());
                assert!(!answer.text().contains("store"), "nothing of the gateway: {}", answer.text());
            }
            // Load balancers ask for these by any name, and they tell nothing that is worth stealing.
            browser.get("/livez").await.assert_status(200);
            browser.get("/readyz").await.assert_status(200);
        }
    }
    // The right token does not make up for it.
    let revoke = "POST /sessions/revoke HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer admin-token-of-the-tests\r\nContent-Type: application/json\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{\"sub\":\"x\"}";
    let (answer, _) = raw(world.gateway.admin, revoke).await;
    answer.unwrap().assert_problem(421, "unknown_host");
    let (answer, _) = raw(world.gateway.admin, revoke.replace("evil.example", "10.0.0.1")).await;
    answer.unwrap().assert_status(204);
    // The target may name a host as well; it is the same one.
    let absolute =
        "GET http://evil.example/metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let (answer, _) = raw(world.gateway.admin, absolute).await;
    answer.unwrap().assert_problem(421, "unknown_host");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_other_names() {
    let world = World::start().await;
    let mut browser = Browser::new(world.gateway.admin, "gateway-1");
    browser.get("/metrics").await.assert_problem(421, "unknown_host");
    world.reload("[server]\nadmin_hosts = ['gateway-1']\n").await;
    browser.get("/metrics").await.assert_status(200);
}

/// The value of a series without labels, or with all of these.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_of_the_process() {
    let world = World::start().await;
    let metrics = || async { world.gateway.metrics().await };
    let before = metrics().await;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let limit = limit as f64;
    assert_eq!(value(&before, "process_max_fds "), Some(limit));
    #[expect(clippy::cast_precision_loss, reason = "seconds far below 2^53")]
    let now = SystemClock.now() as f64;
    let started = value(&before, "process_start_time_seconds ").unwrap();
    assert!(started <= now + 2.0 && started > now - 86_400.0, "{started}");
    let resident = value(&before, "process_resident_memory_bytes ").unwrap();
    let virtual_memory = value(&before, "process_virtual_memory_bytes ").unwrap();
    assert!(resident > 1e6 && virtual_memory > resident, "{resident}, {virtual_memory}");
    let (open, used) =
        (value(&before, "process_open_fds ").unwrap(), value(&before, "process_cpu_seconds_total ").unwrap());
    assert!(open > 5.0 && open < limit && used > 0.0, "{open}, {used}");
    let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    // Other tests of this process open and close some, too.
    assert!(value(&metrics().await, "process_open_fds ").unwrap() > 50.0);
    drop(files);
    let spin = std::thread::spawn(move || {
        let begin = std::time::Instant::now();
        while begin.elapsed().as_millis() < 100 {}
    });
    spin.join().unwrap();
    let after = value(&metrics().await, "process_cpu_seconds_total ").unwrap();
    assert!(after > used, "{used} and {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_when_each_certificate_ends() {
    use crate::support::certificates::Authority;
    let authority = Authority::new();
    authority.certify_until("store", &["store.localhost", "www.store.localhost"], 2031);
    authority.certify_until("forums", &["forums.localhost"], 2033);
    let world = World::with(&authority.server(&["store", "forums"])).await;
    let metrics = world.gateway.metrics().await;
    let end = |name: &str| {
        value(&metrics, &format!("portcullis_certificate_not_after_timestamp_seconds{{name=\"{name}\"}} "))
    };
    // The first second of these years.
    assert_eq!(end("store.localhost"), Some(1_924_992_000.0), "{metrics}");
    assert_eq!(end("www.store.localhost"), Some(1_924_992_000.0));
    assert_eq!(end("forums.localhost"), Some(1_988_150_400.0));
    // A renewed one is seen, too.
    authority.certify_until("forums", &["forums.localhost"], 2034);
    patiently("the other one", async {
        while !world.gateway.metrics().await.contains("\"forums.localhost\"} 2019686400") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}
