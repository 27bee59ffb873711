use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::{Description, Loader, State, StateError, from_bytes, to_bytes};

#[derive(State, Default, Debug, PartialEq, Clone, Copy)]
enum Phase {
    #[default]
    Idle,
    Command,
    Data,
}

#[derive(State, Default, Debug, PartialEq, Clone, Copy)]
#[state(transparent)]
struct Ier(u8);

#[derive(State, Default, Debug, PartialEq, Clone)]
#[state(name = "fifo", version = 2, minimum = 1)]
struct Fifo {
    data: VecDeque<u8>,
    #[state(since = 2)]
    level: u16,
}

#[derive(State, Default, Debug)]
#[state(name = "serial", version = 3, minimum = 2, post_load = Serial::check)]
struct Serial {
    a: u8,
    b: [u32; 4],
    v: Vec<u8>,
    fifo: Fifo,
    phase: Phase,
    ier: Ier,
    many: Vec<(u8, Option<i64>)>,
    map: BTreeMap<u32, String>,
    atomic: AtomicU32,
    x: f64,
    #[state(since = 3)]
    c: u32,
    #[state(subsection = "serial/timeout", needed = Serial::timeout_needed)]
    t: Option<u64>,
    #[state(subsection = "serial/timeout")]
    t2: u8,
    #[state(skip = "derived from the line control register")]
    derived: std::cell::Cell<u32>,
}

impl Serial {
    fn timeout_needed(&self) -> bool {
        self.t.is_some()
    }
    fn check(&mut self, version: u32) -> Result<(), String> {
        self.derived.set(u32::from(self.a) + version);
        if self.a == 99 { Err("a cannot be 99".into()) } else { Ok(()) }
    }
}

fn sample() -> Serial {
    Serial {
        a: 7,
        b: [1, 2, 3, u32::MAX],
        v: vec![1, 2, 3],
        fifo: Fifo { data: VecDeque::from([9, 8]), level: 5 },
        phase: Phase::Data,
        ier: Ier(0xf),
        many: vec![(1, None), (2, Some(-3))],
        map: BTreeMap::from([(3, "x".to_owned())]),
        atomic: AtomicU32::new(77),
        x: -1.5,
        c: 0xdead_beef,
        t: Some(123),
        t2: 4,
        derived: Default::default(),
    }
}

#[test]
fn round_trip() {
    let bytes = to_bytes(&sample());
    let mut back = Serial::default();
    from_bytes(&mut back, &bytes).unwrap();
    assert_eq!(back.derived.get(), 10);
    assert_eq!(back.atomic.load(SeqCst), 77);
    assert_eq!((back.t, back.t2), (Some(123), 4));
    assert_eq!(back.phase, Phase::Data);
    assert_eq!(to_bytes(&back), bytes);
}

#[test]
fn subsection_left_out() {
    let bytes = to_bytes(&Serial { t: None, ..sample() });
    let mut back = Serial { t2: 50, ..Serial::default() };
    from_bytes(&mut back, &bytes).unwrap();
    assert_eq!((back.t, back.t2), (None, 50));
}

#[test]
fn post_load_refuses() {
    let bytes = to_bytes(&Serial { a: 99, ..sample() });
    let error = from_bytes(&mut Serial::default(), &bytes).unwrap_err();
    assert_eq!(error.to_string(), "saved state of 'serial': a cannot be 99");
}

#[derive(State, Default)]
#[state(name = "v", version = 1)]
struct V1 {
    a: u8,
    b: u16,
}
#[derive(State, Default)]
#[state(name = "v", version = 2, minimum = 1)]
struct V2 {
    a: u8,
    #[state(since = 2)]
    z: u64,
    b: u16,
}
#[derive(State, Default)]
#[state(name = "v", version = 3, minimum = 2)]
struct V3 {
    a: u8,
    z: u32,
    b: u16,
}
#[derive(State, Default)]
#[state(name = "v", version = 1)]
struct Renamed {
    a: u8,
    c: u16,
    #[state(subsection = "v/extra", needed = Renamed::always)]
    extra: u8,
}
impl Renamed {
    fn always(&self) -> bool {
        true
    }
}
#[derive(State, Default)]
#[state(name = "v", version = 1)]
struct Longer {
    a: u8,
    b: u16,
    #[state(subsection = "v/extra", needed = Longer::always)]
    extra: u8,
}
impl Longer {
    fn always(&self) -> bool {
        true
    }
}

fn error<T: State + Default>(bytes: &[u8]) -> String {
    from_bytes(&mut T::default(), bytes).unwrap_err().to_string()
}

#[test]
fn versions() {
    let mut new = V2 { z: 11, ..V2::default() };
    from_bytes(&mut new, &to_bytes(&V1 { a: 1, b: 2 })).unwrap();
    assert_eq!((new.a, new.b, new.z), (1, 2, 11));
    assert_eq!(error::<V1>(&to_bytes(&new)), "saved state of 'v': version 2 is newer than version 1 here");
    assert_eq!(
        error::<V3>(&to_bytes(&V1::default())),
        "saved state of 'v': version 1 is older than version 2, the oldest that can be read"
    );
    assert_eq!(
        error::<V3>(&to_bytes(&new)),
        "saved state of 'v', field 'z': it is u64 in the stream and u32 here"
    );
    assert_eq!(
        error::<Renamed>(&to_bytes(&V1::default())),
        "saved state of 'v', field 'c': the stream has 'b' in its place"
    );
    assert_eq!(
        error::<V1>(&to_bytes(&Longer::default())),
        "saved state of 'v': subsection 'v/extra' is unknown here"
    );
}

#[test]
fn description_lists_all() {
    let d = Description::of::<Serial>();
    assert_eq!((d.name.as_str(), d.version, d.minimum), ("serial", 3, 2));
    assert_eq!(d.fields.len(), 11);
    assert_eq!(d.subsections[0].fields.len(), 2);
    assert_eq!(d.fields[6].ty.words(), "list of (u8, optional i64)");
}

#[test]
fn sections_in_a_row() {
    let mut out = crate::Saver::new();
    out.section(0, &V1 { a: 1, b: 1 });
    out.section(1, &V1 { a: 2, b: 2 });
    let bytes = out.into_bytes();
    let mut from = Loader::new(&bytes);
    assert_eq!(from.next_section().unwrap(), Some(("v".to_owned(), 0)));
    from.skip_section().unwrap();
    let mut v = V1::default();
    from.section(1, &mut v).unwrap();
    assert_eq!(v.a, 2);
    assert_eq!(from.next_section().unwrap(), None);
    let mut again = Loader::new(&bytes);
    assert!(again.section(5, &mut v).is_err());
}

#[test]
fn enum_values_are_checked() {
    let mut bytes = to_bytes(&sample());
    let at = bytes.windows(5).position(|w| w == [0, 0, 0, 2, 0xf]).unwrap();
    bytes[at + 3] = 9;
    let e: StateError = from_bytes(&mut Serial::default(), &bytes).unwrap_err();
    assert_eq!(e.to_string(), "saved state of 'serial', field 'phase': 9 is no Phase");
}

proptest::proptest! {
    #[test]
    fn hostile_streams_are_refused(cut in 0usize..2000, at in 0usize..2000, with in 0u8..) {
        let mut bytes = to_bytes(&sample());
        if let Some(b) = bytes.get_mut(at) {
            *b = with;
        }
        bytes.truncate(cut);
        // Whatever happens, it ends without a panic.
        let _ = from_bytes(&mut Serial::default(), &bytes);
    }
}
