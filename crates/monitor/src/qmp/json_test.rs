use super::*;
use proptest::prelude::*;
use qapi::json;

#[test]
fn layout() {
    let value = json!({"return": {"a": [1, null], "b": {}, "c": []}});
    assert_eq!(write(&value, false), r#"{"return": {"a": [1, null], "b": {}, "c": []}}"#);
    let pretty = "{\n    \"return\": {\n        \"a\": [\n            1,\n            null\n        ],\n        \"b\": {},\n        \"c\": []\n    }\n}";
    assert_eq!(write(&value, true), pretty);
    assert_eq!(write(&json!("ä\u{1f600}\"\u{1}"), false), r#""\u00E4\uD83D\uDE00\"\u0001""#);
}

proptest! {
    #[test]
    fn any_text_is_read_back(text in ".*", pretty: bool) {
        let value = json!([text, {text.clone(): true}]);
        let written = write(&value, pretty);
        prop_assert!(written.is_ascii());
        prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value);
    }
}
