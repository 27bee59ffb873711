use super::*;
use proptest::prelude::*;

fn typed(bytes: &[u8]) -> Vec<String> {
    let mut line = Line::default();
    let mut echo = String::new();
    bytes
        .iter()
        .filter_map(|b| match line.push(*b, &mut echo) {
            Typed::Finished(text) => Some(text),
            _ => None,
        })
        .collect()
}

#[test]
fn editing() {
    assert_eq!(typed(b"info\r\nhelp\n"), ["info", "help"]);
    assert_eq!(typed(b"inx\x7ffo\n"), ["info"]);
    assert_eq!(typed(b"nfo\x01i\n"), ["info"]);
    assert_eq!(typed(b"info\x1b[D\x1b[Dx\n"), ["inxfo"]);
    assert_eq!(typed(b"info registers\x17qtree\n"), ["info qtree"]);
    assert_eq!(typed(b"rubbish\x15q\n"), ["q"]);
    assert_eq!(typed(b"one\ntwo\n\x1b[A\x1b[A\n"), ["one", "two", "one"]);
    assert_eq!(typed("gr\u{fc}n\n".as_bytes()), ["gr\u{fc}n"]);
}

#[test]
fn what_is_seen() {
    let mut line = Line::default();
    let mut echo = String::new();
    for byte in b"ac\x1b[Db" {
        line.push(*byte, &mut echo);
    }
    assert_eq!(echo, "ac\x08bc\x08");
}

proptest! {
    #[test]
    fn no_key_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        typed(&bytes);
    }
}
