use super::*;

fn control() -> Arc<ExchangeControl> {
    Arc::new(ExchangeControl::new(SocketAddr::from(([127, 0, 0, 1], 1)), false))
}

#[test]
fn an_exchange_ends_itself_only() {
    let control = control();
    control.begin_exchange();
    let first = control.exchange();
    assert!(!first.is_over());
    assert_eq!(control.finish_exchange(), None);
    assert!(first.is_over());
    assert!(!first.end(EndReason::SessionEnded), "between two requests");
    control.begin_exchange();
    let second = control.exchange();
    assert!(!first.end(EndReason::SessionEnded), "during the next");
    assert_eq!(control.ended(), None);
    assert!(second.end(EndReason::SessionEnded));
    assert!(!second.is_over());
    assert_eq!(control.finish_exchange(), Some(EndReason::SessionEnded));
    assert!(second.is_over());
}

#[test]
fn the_first_reason_stays_unless_it_is_recovered_from() {
    let control = control();
    control.begin_exchange();
    let exchange = control.exchange();
    control.end(EndReason::ResponseTimeout);
    assert!(exchange.end(EndReason::SessionEnded), "it is ending");
    assert_eq!(control.ended(), Some(EndReason::ResponseTimeout));
    control.recover();
    assert_eq!(control.ended(), None);
    assert!(exchange.end(EndReason::SessionEnded));
    control.end(EndReason::Shutdown);
    control.recover();
    assert_eq!(control.finish_exchange(), Some(EndReason::SessionEnded));
}
