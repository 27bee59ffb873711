use super::*;
use cpu::Frame;

fn vcpu(index: u32) -> Owned {
    let entries =
        crate::tlb::Tlb::default().select(cpu::Space { number: 0, owner: 0 }, usize::MAX).1.unwrap();
    let handle = CpuHandle::new(index, Arc::new(Frame::default()));
    Owned { entries, activity: Arc::new(Activity::new(0)), handle }
}

#[test]
fn a_page_waits_for_those_that_are_inside() {
    let (settling, inside, outside) = (Settling::default(), vcpu(0), vcpu(1));
    inside.activity.turn.toggle();
    settling.wait_for(0x1000, &outside);
    assert!(settling.is_over(0x1000), "who is outside has nothing to finish");
    settling.wait_for(0x1000, &inside);
    assert!(!settling.is_over(0x1000) && settling.is_over(0x2000));
    assert_ne!(inside.handle.frame().interrupt.load(SeqCst), 0, "it is asked to come out");
    inside.activity.turn.next();
    assert!(settling.is_over(0x1000), "it has been outside, and is inside again");
    settling.wait_for(0x1000, &inside);
    assert!(!settling.is_over(0x1000));
    inside.activity.turn.toggle();
    assert!(settling.is_over(0x1000));
}
