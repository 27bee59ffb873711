use super::*;
use crate::icount::IcountOptions;

fn moment(count: u64, rounds: u64) -> Moment {
    Moment { count, rounds }
}

type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// A stream whose device has room for so many inputs.
fn stream(replay: &Replay, room: usize) -> (u32, Heard, Arc<Mutex<usize>>) {
    let (heard, room) = (Heard::default(), Arc::new(Mutex::new(room)));
    let (into, left) = (heard.clone(), room.clone());
    let id = replay.stream(move |bytes| {
        let mut left = locked(&left);
        if *left == 0 {
            return Some(bytes);
        }
        *left -= 1;
        locked(&into).push(bytes);
        None
    });
    (id, heard, room)
}

fn notices(replay: &Replay) -> Arc<Mutex<Vec<Notice>>> {
    let heard: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let into = heard.clone();
    replay.listen(move |notice| locked(&into).push(notice));
    heard
}

#[test]
fn what_is_recorded_comes_again_at_its_place() {
    let path = std::env::temp_dir().join(format!("tinamou-replay-{}", std::process::id()));
    let path = path.to_str().unwrap();
    let icount = Arc::new(Icount::new(IcountOptions::default()));
    let replay = Replay::record(path, "test", &icount).unwrap();
    let (id, heard, room) = stream(&replay, 1);
    assert_eq!(replay.value(9, || vec![1, 2]), [1, 2]);
    icount.set_count(100);
    replay.input(id, b"one".to_vec());
    replay.input(id, b"two".to_vec());
    assert!(locked(&heard).is_empty());
    replay.act(icount.here());
    assert_eq!(*locked(&heard), [b"one"]);
    // The second waits until there is room.
    *locked(&room) = 5;
    icount.set_count(150);
    replay.act(icount.here());
    assert_eq!(locked(&heard).len(), 1);
    replay.poke();
    replay.act(icount.here());
    assert_eq!(locked(&heard).len(), 2);
    icount.begin_round();
    icount.set_time(icount.now_ns() + 77);
    replay.request(3);
    icount.set_count(200);
    replay.finish();

    let log = Log::parse(&std::fs::read(path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!((log.machine.as_str(), log.shift), ("test", 3));
    let icount = Arc::new(Icount::new(IcountOptions::default()));
    let replay = Replay::play(path, log, &icount);
    let (_, heard, room) = stream(&replay, 1);
    let told = notices(&replay);
    assert_eq!(replay.value(9, || unreachable!()), [1, 2]);
    // Input from outside is nothing to a replay.
    replay.input(0, b"other".to_vec());
    assert_eq!((replay.next(), replay.last_count()), (100, Some(200)));
    replay.act(moment(0, 0));
    assert!(locked(&heard).is_empty());
    icount.set_count(100);
    replay.act(icount.here());
    assert_eq!(*locked(&heard), [b"one"]);
    *locked(&room) = 5;
    icount.set_count(150);
    replay.poke();
    replay.act(icount.here());
    assert_eq!(*locked(&heard), [b"one", b"two"]);
    // In the next round, and not before the clock shows the time.
    assert_eq!(replay.time(icount.here()), None);
    icount.begin_round();
    replay.act(icount.here());
    assert!(locked(&told).is_empty());
    icount.set_time(replay.time(icount.here()).unwrap());
    replay.act(icount.here());
    assert_eq!(*locked(&told), [Notice::Request(3)]);
    icount.set_count(200);
    replay.act(icount.here());
    assert_eq!(locked(&told).last(), Some(&Notice::End));
}

#[test]
fn another_execution_is_noticed_once() {
    let icount = Arc::new(Icount::new(IcountOptions::default()));
    let record = |kind, count| Record {
        kind,
        stream: 0,
        moment: moment(count, 0),
        time: count * 8,
        bytes: Vec::new(),
    };
    let records = vec![record(Kind::Value, 5), record(Kind::Input, 10), record(Kind::Input, 20)];
    let replay = Replay::play("none", Log { machine: String::new(), shift: 3, records }, &icount);
    let told = notices(&replay);
    assert_eq!(replay.value(0, || vec![7]), [7]);
    icount.set_count(11);
    replay.act(icount.here());
    let told = locked(&told);
    assert!(matches!(&told[..], [Notice::Diverged(text)] if text.contains("at instruction 0")), "{told:?}");
}

#[test]
fn it_stops_where_it_is_to() {
    let icount = Arc::new(Icount::new(IcountOptions::default()));
    let replay = Replay::play("none", Log { machine: String::new(), shift: 3, records: Vec::new() }, &icount);
    let told = notices(&replay);
    replay.stop_at(Some(40));
    assert_eq!(replay.next(), 40);
    icount.set_count(40);
    replay.act(icount.here());
    assert_eq!((&locked(&told)[..], replay.stops_at()), (&[Notice::Break][..], None));
}
