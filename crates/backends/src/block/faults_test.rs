use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

fn full() -> io::Result<()> {
    Err(ErrorKind::StorageFull.into())
}

#[test]
fn errors_are_reported_or_ignored() {
    let faults = Faults::default();
    assert!(faults.run(true, full).is_err());
    faults.set_actions(ErrorAction::Ignore, ErrorAction::Report);
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    faults.listen(Box::new(move |fault| {
        assert!(fault.no_space);
        count.fetch_add(1, SeqCst);
    }));
    assert!(faults.run(true, full).is_ok());
    assert!(faults.run(false, full).is_err());
    assert_eq!(heard.load(SeqCst), 2);
    // What the guest has done wrong is no fault of the host's.
    faults.set_actions(ErrorAction::Stop, ErrorAction::Stop);
    assert!(faults.run(true, || Err(ErrorKind::InvalidInput.into())).is_err());
    assert_eq!(heard.load(SeqCst), 2);
}

#[test]
fn a_held_request_is_tried_again_or_fails() {
    let faults = Faults::default();
    faults.set_actions(ErrorAction::Enospc, ErrorAction::Stop);
    assert!(faults.run(true, || Err(ErrorKind::Other.into())).is_err());
    let (stopped, stops) = mpsc::channel();
    let stopped = Mutex::new(stopped);
    faults.listen(Box::new(move |fault| {
        assert_eq!(fault.action, FaultAction::Stop);
        stopped.lock().unwrap().send(()).unwrap();
    }));
    let tries = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let request =
            scope.spawn(|| faults.run(true, || if tries.fetch_add(1, SeqCst) < 2 { full() } else { Ok(()) }));
        for _ in 0..2 {
            stops.recv().unwrap();
            assert_eq!((faults.held(), faults.status()), (1, IoStatus::NoSpace));
            faults.retry();
        }
        assert!(request.join().unwrap().is_ok());
        let request = scope.spawn(|| faults.run(false, || Err(ErrorKind::Other.into())));
        stops.recv().unwrap();
        assert_eq!(faults.status(), IoStatus::Failed);
        faults.give_up(true);
        assert!(request.join().unwrap().is_err());
    });
    assert_eq!((faults.held(), faults.status()), (0, IoStatus::Ok));
    assert!(faults.listener.get().is_some() && faults.run(true, || Ok(())).is_ok());
}

/// Where nobody may wait, requests fail, without being tried, until the machine goes on.
#[test]
fn who_never_waits_tries_again() {
    let faults = Faults::default();
    faults.set_actions(ErrorAction::Stop, ErrorAction::Stop);
    faults.never_wait();
    assert!(faults.run(true, full).is_err());
    assert!(faults.holds() && faults.held() == 1);
    let tried = AtomicUsize::new(0);
    let request = || {
        tried.fetch_add(1, SeqCst);
        Ok(())
    };
    assert_eq!(faults.run(false, request).unwrap_err().kind(), ErrorKind::WouldBlock);
    faults.retry();
    assert!(!faults.holds() && faults.held() == 0 && faults.run(false, request).is_ok());
    assert_eq!(tried.load(SeqCst), 1);
}
