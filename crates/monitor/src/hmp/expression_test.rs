use super::*;
use proptest::prelude::*;

fn value(text: &str) -> std::result::Result<i64, String> {
    let registers = |name: &str| (name == "pc").then_some(0x1000);
    let (value, rest) = evaluate(text, &registers).map_err(|e| e.to_string())?;
    assert_eq!(rest.trim(), "", "{text}");
    Ok(value)
}

#[test]
fn values() {
    for (text, expected) in [
        ("0x10+3*2", 0x16),
        ("1 + 2 & 3", 3),
        ("2*3|8", 14),
        ("-(4-6)", 2),
        ("~0", -1),
        ("'a'", 0x61),
        ("010", 8),
        ("$pc+4", 0x1004),
        ("7 % 4", 3),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn messages() {
    for (text, message) in [
        ("", "unexpected end of expression"),
        ("1+", "unexpected end of expression"),
        ("10/0", "division by zero"),
        ("(1", "')' expected"),
        ("$nope", "unknown register"),
        ("foo", "invalid char 'f' in expression"),
    ] {
        assert_eq!(value(text), Err(message.to_owned()), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_does_harm(text in "[-+*/%&|^~()' $a-f0-9x]{0,60}") {
        let _ = evaluate(&text, &|_| Some(i64::MIN as u64));
    }
    #[test]
    fn nor_any_other(text in "\\PC{0,40}") {
        let _ = evaluate(&text, &|_| None);
    }
}
