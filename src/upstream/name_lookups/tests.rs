use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::*;
use crate::upstream::resolved_addresses::HURRIED;

const SECOND: Duration = Duration::from_secs(1);

/// Says what it is told to say, and writes down when it was asked.
#[derive(Debug, Default)]
struct Script {
    says: Mutex<Option<Vec<u8>>>,
    is_silent: AtomicBool,
    is_heard: Notify,
    asked: Mutex<Vec<Instant>>,
}

impl Script {
    /// `None`: it cannot say.
    fn say(&self, addresses: Option<&[u8]>) {
        *self.says.lock().unwrap() = addresses.map(<[u8]>::to_vec);
    }

    fn be_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
        self.is_heard.notify_waiters();
    }

    fn asked(&self) -> Vec<Instant> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Lookup for Script {
    async fn addresses(&self, _host: &str) -> Result<Vec<IpAddr>, LookupError> {
        self.asked.lock().unwrap().push(Instant::now());
        let heard = self.is_heard.notified();
        if self.is_silent.load(Ordering::SeqCst) {
            heard.await;
        } else {
            sleep(Duration::from_millis(3)).await;
        }
        let says = self.says.lock().unwrap().clone();
        match says.as_deref() {
            None => Err(LookupError::Unclear(String::from("try again"))),
            Some([]) => Err(LookupError::NoAddress),
            Some(addresses) => Ok(addresses.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect()),
        }
    }
}

fn name() -> (Arc<Script>, Names, Arc<Name>) {
    let script = Arc::new(Script::default());
    script.say(Some(&[1]));
    let names = Names::new(script.clone());
    let name = names.get("shop.test");
    (script, names, name)
}

fn known(name: &Name) -> Vec<u8> {
    let last = |ip: IpAddr| if let IpAddr::V4(ip) = ip { ip.octets()[3] } else { 0 };
    name.answer().addresses.iter().map(|known| last(known.ip)).collect()
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_share_one_look_up() {
    let (script, _names, name) = name();
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let name = Arc::clone(&name);
        asking.spawn(async move {
            name.look_up().await;
            known(&name)
        });
    }
    assert!(asking.join_all().await.iter().all(|known| known == &[1]));
    assert_eq!(script.asked().len(), 1);
    // What is known is good for a second.
    name.look_up().await;
    advance(SECOND).await;
    assert_eq!(script.asked().len(), 1);
    script.say(Some(&[2, 1]));
    name.look_up().await;
    assert_eq!((script.asked().len(), known(&name)), (2, vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_look_up_goes_on_without_who_asked() {
    let (_script, _names, name) = name();
    assert!(timeout(Duration::ZERO, name.look_up()).await.is_err());
    sleep(SECOND / 2).await;
    assert_eq!(known(&name), [1]);
}

#[tokio::test(start_paused = true)]
async fn one_name_is_one_whoever_asks_for_it_until_nobody_does() {
    let (script, names, name) = name();
    assert!(Arc::ptr_eq(&name, &names.get("shop.test")));
    assert!(!Arc::ptr_eq(&name, &names.get("other.test")));
    name.look_up().await;
    drop(name);
    names.get("shop.test").look_up().await;
    assert_eq!(script.asked().len(), 2);
    assert_eq!(names.known.lock().unwrap().len(), 1, "names that nobody has are not kept");
}

#[tokio::test(start_paused = true)]
async fn a_silent_name_server_is_waited_for_once_and_what_it_says_in_the_end_counts() {
    let (script, _names, name) = name();
    name.look_up().await;
    sleep(SECOND * 2).await;
    script.be_silent(true);
    let began = Instant::now();
    name.look_up().await;
    assert_eq!((began.elapsed(), known(&name)), (PATIENCE, vec![1]));
    let keeping = tokio::spawn(Arc::clone(&name).keep_known(SECOND));
    for _ in 0..50 {
        let began = Instant::now();
        name.doubt();
        name.look_up().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        sleep(SECOND / 7).await;
    }
    assert_eq!((script.asked().len(), name.answer().state), (2, State::Unclear));
    script.say(Some(&[2]));
    script.be_silent(false);
    sleep(SECOND / 10).await;
    assert_eq!((known(&name), name.answer().state), (vec![2], State::Found));
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_at_its_interval_and_once_a_second_whatever_happens() {
    let (script, _names, name) = name();
    // Two apps.
    let keeping = [7, 60].map(|seconds| tokio::spawn(Arc::clone(&name).keep_known(SECOND * seconds)));
    sleep(SECOND * 60).await;
    assert_eq!(script.asked().len(), 9, "one at once, then every seven seconds");
    for _ in 0..1000 {
        name.doubt();
        let asking = Arc::clone(&name);
        tokio::spawn(async move { asking.look_up().await });
        sleep(Duration::from_millis(17)).await;
    }
    script.say(None);
    sleep(SECOND * 30).await;
    script.say(Some(&[]));
    sleep(SECOND * 30).await;
    let asked = script.asked();
    for (number, first) in asked.iter().enumerate() {
        for (further, last) in asked.iter().skip(number).enumerate() {
            let seconds = usize::try_from((*last - *first).as_secs()).unwrap();
            assert!(further <= seconds + HURRIED, "{further} more within {seconds} s");
        }
    }
    let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let in_trouble = gaps.iter().rev().take(50).all(|gap| *gap >= SECOND && *gap < SECOND + SECOND / 100);
    assert!(in_trouble, "every second while there is no address: {gaps:?}");
    keeping.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn doubt_makes_a_look_up_long_before_the_interval_is_over() {
    let (script, _names, name) = name();
    let keeping = tokio::spawn(Arc::clone(&name).keep_known(SECOND * 3600));
    sleep(SECOND * 10).await;
    script.say(Some(&[2]));
    name.doubt();
    sleep(SECOND / 10).await;
    assert_eq!((script.asked().len(), known(&name)), (2, vec![2]));
    // One look-up for all that end together, however many.
    script.say(Some(&[3]));
    for _ in 0..20 {
        name.doubt();
        sleep(Duration::from_millis(1)).await;
    }
    sleep(SECOND / 10).await;
    assert_eq!((script.asked().len(), known(&name)), (3, vec![3]));
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn what_happens_during_a_look_up_makes_another_one() {
    let (script, _names, name) = name();
    name.look_up().await;
    name.doubt();
    let first = name.progress().expect("a look-up");
    tokio::task::yield_now().await;
    name.doubt();
    name.look_up().await;
    assert_eq!((*first.borrow(), script.asked().len()), (Progress::Done, 2));
    name.look_up().await;
    assert_eq!(script.asked().len(), 3, "the last one had begun before");
    name.look_up().await;
    assert_eq!(script.asked().len(), 3);
}
