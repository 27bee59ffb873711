use super::super::test_support::{Back, Front as TestFront, run};
use super::*;

use std::sync::atomic::AtomicUsize;

struct Rig {
    back: Arc<Back>,
    mux: Arc<Mux>,
    runner: events::Runner,
    quits: Arc<AtomicUsize>,
}

fn rig() -> Rig {
    let (events, runner) = EventLoop::new().unwrap();
    let quits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&quits);
    let actions = MuxActions {
        quit: Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }),
        commit: Box::new(|| {}),
        escape: 1,
    };
    let back = Arc::new(Back::default());
    let mux = Mux::new(&events, back.clone(), Arc::new(actions));
    back.receiver().event(CharEvent::Opened);
    Rig { back, mux, runner, quits }
}

#[test]
fn the_help_text() {
    let rig = rig();
    rig.back.receiver().receive(b"\x01h");
    let expected = "\n\r\
        C-a h    print this help\n\r\
        C-a x    exit emulator\n\r\
        C-a s    save disk data back to file (if -snapshot)\n\r\
        C-a t    toggle console timestamps\n\r\
        C-a b    send break (magic sysrq)\n\r\
        C-a c    switch between console and monitor\n\r\
        C-a C-a  sends C-a\n\r";
    assert_eq!(rig.back.take(), expected);
    rig.back.receiver().receive(b"\x01x");
    assert_eq!(rig.back.take(), "QEMU: Terminated\n\r");
    assert_eq!(rig.quits.load(Ordering::SeqCst), 1);
}

#[test]
fn focus_rotates() {
    let mut rig = rig();
    let (console, monitor) = (rig.mux.attach(), rig.mux.attach());
    let (front0, front1) = (TestFront::new(100), TestFront::new(100));
    console.set_receiver(Some(front0.clone()));
    monitor.set_receiver(Some(front1.clone()));
    run(&mut rig.runner, || front1.heard.lock().unwrap().len() == 1);
    let ear = rig.back.receiver();
    ear.receive(b"ab\x01");
    ear.receive(b"\x01\x01zc\x01cquit\x01b\x01cd");
    assert_eq!(front0.text(), "ab\x01cd");
    assert_eq!(front1.text(), "quit");
    use CharEvent::*;
    assert_eq!(*front0.heard.lock().unwrap(), [Opened, FocusIn, FocusOut, FocusIn]);
    assert_eq!(*front1.heard.lock().unwrap(), [Opened, FocusIn, Break, FocusOut]);
    assert_eq!(console.write(b"out"), 3);
    assert_eq!(rig.back.take(), "out");
}

#[test]
fn keys_wait_for_room_and_escapes_work_meanwhile() {
    let mut rig = rig();
    let console = rig.mux.attach();
    let front = TestFront::new(1);
    console.set_receiver(Some(front.clone()));
    let ear = rig.back.receiver();
    ear.receive(b"abc");
    assert_eq!(front.text(), "a");
    ear.receive(b"\x01x");
    assert_eq!(rig.quits.load(Ordering::SeqCst), 1);
    front.room.store(10, Ordering::SeqCst);
    console.receive_ready();
    run(&mut rig.runner, || front.text() == "abc");
    front.room.store(0, Ordering::SeqCst);
    ear.receive(&[b'x'; QUEUE_LIMIT]);
    assert_eq!(ear.room(), 0);
}

#[test]
fn lines_get_stamps() {
    let rig = rig();
    let console = rig.mux.attach();
    rig.back.receiver().receive(b"\x01t");
    assert_eq!(console.write(b"a\nb\n"), 4);
    let text = rig.back.take();
    assert!(text.starts_with("a\n[00:00:0") && text.ends_with("] b\n"), "{text:?}");
    rig.back.receiver().receive(b"\x01t");
    console.write(b"c\nd");
    assert_eq!(rig.back.take(), "c\nd");
    assert_eq!(stamp(3_723_004), "[01:02:03.004] ");
}
