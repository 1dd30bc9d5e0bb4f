use super::*;

fn watch() -> Arc<ConnectionWatch> {
    Arc::new(ConnectionWatch::new(SocketAddr::from(([127, 0, 0, 1], 1)), false))
}

#[test]
fn an_exchange_ends_itself_only() {
    let watch = watch();
    watch.begin_exchange();
    let first = watch.exchange();
    assert!(!first.is_over());
    assert_eq!(watch.finish_exchange(), None);
    assert!(first.is_over());
    assert!(!first.end(EndReason::SessionEnded), "between two requests");
    watch.begin_exchange();
    let second = watch.exchange();
    assert!(!first.end(EndReason::SessionEnded), "during the next");
    assert_eq!(watch.ended(), None);
    assert!(second.end(EndReason::SessionEnded));
    assert!(!second.is_over());
    assert_eq!(watch.finish_exchange(), Some(EndReason::SessionEnded));
    assert!(second.is_over());
}

#[test]
fn the_first_reason_stays_unless_it_is_recovered_from() {
    let watch = watch();
    watch.begin_exchange();
    let exchange = watch.exchange();
    watch.end(EndReason::ResponseTimeout);
    assert!(exchange.end(EndReason::SessionEnded), "it is ending");
    assert_eq!(watch.ended(), Some(EndReason::ResponseTimeout));
    watch.recover();
    assert_eq!(watch.ended(), None);
    assert!(exchange.end(EndReason::SessionEnded));
    watch.end(EndReason::Shutdown);
    watch.recover();
    assert_eq!(watch.finish_exchange(), Some(EndReason::SessionEnded));
}
