use super::*;

#[derive(Default)]
struct Record(Mutex<Vec<(u32, bool)>>);
impl LineSink for Record {
    fn set(&self, n: u32, level: bool) {
        self.0.lock().unwrap().push((n, level));
    }
}

#[test]
fn only_changes_are_told() {
    let sink = Arc::new(Record::default());
    let line = Line::to(sink.clone(), 3);
    line.lower();
    line.raise();
    line.clone().raise();
    line.pulse();
    line.refresh(true);
    line.refresh(true);
    assert_eq!(*sink.0.lock().unwrap(), [(3, true), (3, false), (3, true), (3, true)]);
    assert!(line.level());
    Line::unconnected().raise();
}

#[test]
fn split_and_inverted() {
    let sink = Arc::new(Record::default());
    let a = Line::to(sink.clone(), 0);
    let b = Line::inverted(Line::to(sink.clone(), 1));
    let both = Line::split([a, b]);
    both.raise();
    both.lower();
    assert_eq!(*sink.0.lock().unwrap(), [(0, true), (0, false), (1, true)]);
}

#[test]
fn order_survives_threads() {
    let sink = Arc::new(Record::default());
    let line = Line::to(sink.clone(), 0);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| (0..1000).for_each(|_| line.pulse()));
        }
    });
    line.lower();
    let seen = sink.0.lock().unwrap();
    assert_eq!(seen.last().map(|l| l.1), Some(line.level()));
}
