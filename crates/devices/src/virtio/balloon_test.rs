use super::super::driver_test::{BASE, DATA, Driver};
use super::*;
use crate::common_test::Random;
use object::AnyDevice;
use std::sync::Mutex;

/// A balloon on a running clock, with its driver.
fn inflated(reporting: bool) -> (Arc<DeviceCell<VirtioBalloon>>, Driver, events::Runner) {
    let (events, runner) = EventLoop::new().unwrap();
    events.clocks().start_virtual();
    let cell = DeviceCell::new(VirtioBalloon::new());
    cell.with(|balloon| balloon.free_page_reporting = reporting);
    VirtioBalloon::connect(&cell, &events);
    cell.realize().unwrap();
    let driver = Driver::start(cell.clone(), false, 0);
    (cell, driver, runner)
}

/// Pages that tests give away.
const PAGES: u64 = BASE + (4 << 20);

#[test]
fn pages_given_away_are_empty() {
    let (cell, mut driver, _) = inflated(false);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    VirtioBalloon::on_change(&cell, move |bytes| hears.lock().unwrap().push(bytes));
    VirtioBalloon::ask(&cell, 2 << 12);
    assert_eq!(driver.read(0x100), 2);
    for page in 0..3 {
        driver.dma.write_u32(PAGES + (page << 12), 7).unwrap();
    }
    // Two pages, and one that is none of RAM's.
    for (n, page) in [PAGES, 0x1000, PAGES + (2 << 12)].into_iter().enumerate() {
        driver.dma.write_u32(DATA + 4 * n as u64, (page >> 12) as u32).unwrap();
    }
    driver.add(INFLATE, &[(DATA, 12)], &[]);
    driver.kick(INFLATE);
    assert_eq!(driver.used(INFLATE), Some((0, 0)));
    let words = [0, 1, 2].map(|page| driver.dma.read_u32(PAGES + (page << 12)).unwrap());
    assert_eq!(words, [0, 7, 0]);
    driver.write(0x104, 2);
    driver.write(0x104, 2);
    assert_eq!(VirtioBalloon::given(&cell), 2 << 12);
    driver.add(DEFLATE, &[(DATA, 12)], &[]);
    driver.kick(DEFLATE);
    assert_eq!(driver.used(DEFLATE), Some((0, 0)));
    driver.write(0x104, 0);
    assert_eq!(*heard.lock().unwrap(), [2 << 12, 0]);
}

#[test]
fn statistics_come_when_asked_for() {
    let (cell, mut driver, mut runner) = inflated(false);
    let tell = |driver: &mut Driver, free: u64| {
        driver.dma.write(DATA, &4u16.to_le_bytes()).unwrap();
        driver.dma.write(DATA + 2, &free.to_le_bytes()).unwrap();
        // A statistic that nobody knows is not minded.
        driver.dma.write(DATA + 10, &0xffffu16.to_le_bytes()).unwrap();
        driver.add(STATS, &[(DATA, 20)], &[]);
        driver.kick(STATS);
    };
    assert_eq!(VirtioBalloon::statistics(&cell), Statistics::default());
    tell(&mut driver, 1000);
    assert_eq!(VirtioBalloon::statistics(&cell).values[4], 1000);
    assert_eq!(driver.used(STATS), None);
    VirtioBalloon::set_interval(&cell, 1);
    for free in [2000, 3000] {
        runner.run(|| driver.used(STATS).is_some()).unwrap();
        tell(&mut driver, free);
        assert_eq!(VirtioBalloon::statistics(&cell).values[4], free);
    }
    assert!(VirtioBalloon::statistics(&cell).last_update > 0);
    VirtioBalloon::set_interval(&cell, 0);
    assert_eq!(cell.with(|balloon| balloon.state.deadline), None);
}

#[test]
fn reported_pages_are_given_back() {
    let (_, mut driver, _) = inflated(true);
    for poisoned in [false, true] {
        driver.dma.write_u32(PAGES + 0x1ffc, 7).unwrap();
        driver.write(0x10c, u32::from(poisoned).into());
        driver.add(REPORTING, &[], &[(PAGES, 0x2000)]);
        driver.kick(REPORTING);
        assert!(driver.used(REPORTING).is_some());
        assert_eq!(driver.dma.read_u32(PAGES + 0x1ffc).unwrap(), if poisoned { 7 } else { 0 });
    }
}

/// Whatever is in the rings, the device goes on or wants a reset.
#[test]
fn rubbish_in_all_queues() {
    let mut random = Random::new("balloon");
    for _ in 0..200 {
        let (cell, mut driver, _) = inflated(true);
        for queue in 0..4 {
            driver.rubbish(queue, &mut random);
            driver.kick(queue);
        }
        cell.timer(0);
    }
}
