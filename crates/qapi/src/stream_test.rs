use super::*;
use crate::json;
use proptest::prelude::*;

fn cut(bytes: &[u8]) -> Vec<Result<Value, String>> {
    let (mut stream, mut out) = (Stream::default(), Vec::new());
    bytes.iter().for_each(|byte| stream.push(*byte, &mut out));
    out
}

#[test]
fn values_follow_each_other() {
    let got = cut(b" {\"a\": [1, {\"}\": \"\\\"\"}]}{'b': 'it\\'s \"x\"'}\n[]12 {\n\"c\"\n:\n1\n}");
    let want =
        [json!({"a": [1, {"}": "\""}]}), json!({"b": "it's \"x\""}), json!([]), json!(12), json!({"c": 1})];
    assert_eq!(got, want.map(Ok));
}

#[test]
fn what_is_wrong_is_said_and_the_rest_is_read() {
    assert_eq!(
        cut(b"} foo \xff{\"a\" 1}{}"),
        [
            Err("JSON parse error, expecting value".into()),
            Err("JSON parse error, expected ident".into()),
            Err("JSON parse error, stray '\\xff'".into()),
            Err("JSON parse error, expected `:`".into()),
            Ok(json!({})),
        ]
    );
    let deep = cut(&[b'['; 4 * DEEPEST]);
    assert!(deep.contains(&Err("JSON nesting depth limit exceeded".into())));
    // Half a message is no message.
    assert!(cut(b"{\"execute\": \"quit\"").is_empty());
}

#[test]
fn a_single_value_is_read() {
    assert_eq!(parse("{'a': \"b\"} ").unwrap(), json!({"a": "b"}));
    assert_eq!(parse(" 17").unwrap(), json!(17));
    let refused = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(refused("{\"a\""), "JSON parse error, premature EOI");
    assert_eq!(refused("{\"a\": 1}}"), "Expecting at most one JSON value");
    assert_eq!(refused(" "), "Expecting a JSON value");
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        cut(&bytes);
    }

    #[test]
    fn any_mixture_of_syntax(text in "[\\[\\]{}:,'\"\\\\a1 ]{0,200}") {
        cut(text.as_bytes());
    }

    #[test]
    fn messages_survive_what_is_between(text in "[a-z\"'\\\\{}\\[\\]äß]{0,20}", n in any::<i64>()) {
        let value = json!({"execute": text, "id": n});
        let written = value.to_string();
        prop_assert_eq!(cut(format!("\n{written} {written}").as_bytes()), [Ok(value.clone()), Ok(value)]);
    }
}
