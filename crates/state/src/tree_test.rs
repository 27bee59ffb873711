use crate::{State, print, to_bytes};

#[derive(State, Default)]
#[state(name = "inner", version = 2)]
struct Inner {
    on: bool,
    bytes: Vec<u8>,
}

#[derive(State, Default)]
#[state(name = "outer")]
struct Outer {
    number: u32,
    name: String,
    pair: Option<(u8, i32)>,
    all: Vec<Inner>,
    long: Vec<u16>,
    #[state(subsection = "outer/more", needed = Outer::is_named)]
    more: u64,
}

impl Outer {
    fn is_named(&self) -> bool {
        !self.name.is_empty()
    }
}

fn sample() -> Outer {
    Outer {
        number: 16,
        name: "x".into(),
        pair: Some((1, -2)),
        all: vec![Inner { on: true, bytes: vec![1, 2] }],
        long: vec![7; 100],
        more: 5,
    }
}

#[test]
fn a_tree_of_fields() {
    let text = print(&to_bytes(&sample())).unwrap();
    let sevens = ["0x7"; 64].join(" ");
    let expected = format!(
        "outer 0 (version 1)\n  number: 0x10\n  name: \"x\"\n  pair: (0x01, -2)\n  all: 1 of struct inner\n    0: inner (version 2)\n      on: true\n      bytes: [0x01 0x02]\n  long: [{sevens}] and 36 more\n  subsection outer/more\n    more: 0x5\n"
    );
    assert_eq!(text, expected);
    let bare = print(&to_bytes(&Outer::default())).unwrap();
    assert!(bare.contains("  pair: none\n") && !bare.contains("subsection"), "{bare}");
}

proptest::proptest! {
    #[test]
    fn damaged_streams_end_in_an_error_or_a_text(cut in 0usize..2000, at in 0usize..2000, with in 0u8..) {
        let mut bytes = to_bytes(&sample());
        if let Some(b) = bytes.get_mut(at) {
            *b = with;
        }
        bytes.truncate(cut);
        let _ = print(&bytes);
    }
}
