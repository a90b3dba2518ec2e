//! Where two things differ first, in words a person can follow.

use serde_json::Value;

/// How many characters of a value a message shows.
const SHOWN: usize = 120;

/// How many characters that are the same are shown before the first that is not: an even number, for hex.
const LEAD: usize = 16;

/// The first difference between two JSON values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where, `messages[2].value`; empty for the value as a whole.
    pub(crate) path: String,
    /// The first character that differs, where two long texts do.
    pub(crate) character: Option<usize>,
    /// What should stand there; `nothing` where nothing should.
    pub(crate) expected: String,
    /// What stands there.
    pub(crate) got: String,
}

/// The first difference, in the order of the expected value's fields. The order of fields has no meaning,
/// that of lists has.
pub(crate) fn first_difference(expected: &Value, got: &Value) -> Option<Difference> {
    let mut path = String::new();
    let (expected, got) = walk(&mut path, expected, got)?;
    // Two long texts are shown from just before the place where they part: their beginnings would look the
    // same.
    let character = match (expected, got) {
        (Some(Value::String(expected)), Some(Value::String(got))) => {
            let same = expected.chars().zip(got.chars()).take_while(|(a, b)| a == b).count();
            (same > SHOWN / 2).then_some(same)
        }
        _ => None,
    };
    let show = |value: Option<&Value>| match (value, character) {
        (None, _) => "nothing".to_owned(),
        (Some(Value::String(text)), Some(same)) => {
            let from: String = text.chars().skip(same - LEAD).collect();
            format!("...{}", shorten(&from))
        }
        (Some(value), _) => shorten(&value.to_string()),
    };
    Some(Difference { path, character, expected: show(expected), got: show(got) })
}

/// The first byte in which two byte strings differ, which may lie behind the end of one of them.
pub(crate) fn first_different_byte(expected: &[u8], got: &[u8]) -> Option<usize> {
    let common = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    (common < expected.len().max(got.len())).then_some(common)
}

/// A text in a form that fits a line and cannot move a terminal's cursor: control characters are escaped, a
/// long text is cut and its length told.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN {
            shown.push_str(&format!("... ({} characters)", text.chars().count()));
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// What is expected somewhere, and what is there.
type Pair<'a> = (Option<&'a Value>, Option<&'a Value>);

/// Descends to the first difference; `path` says where it is, and stays as it was where there is none.
fn walk<'a>(path: &mut String, expected: &'a Value, got: &'a Value) -> Option<Pair<'a>> {
    let length = path.len();
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            let fields = expected.keys().chain(got.keys().filter(|name| !expected.contains_key(*name)));
            for name in fields {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                let difference = descend(path, expected.get(name), got.get(name));
                if difference.is_some() {
                    return difference;
                }
                path.truncate(length);
            }
            None
        }
        (Value::Array(expected), Value::Array(got)) => {
            for index in 0..expected.len().max(got.len()) {
                path.push_str(&format!("[{index}]"));
                let difference = descend(path, expected.get(index), got.get(index));
                if difference.is_some() {
                    return difference;
                }
                path.truncate(length);
            }
            None
        }
        (Value::Number(a), Value::Number(b)) if a == b => None,
        // 480 and 480.0 are one number to JSON, and some languages write every number the second way.
        (Value::Number(a), Value::Number(b)) if (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64() => {
            None
        }
        _ if expected == got => None,
        _ => Some((Some(expected), Some(got))),
    }
}

fn descend<'a>(path: &mut String, expected: Option<&'a Value>, got: Option<&'a Value>) -> Option<Pair<'a>> {
    match (expected, got) {
        (Some(expected), Some(got)) => walk(path, expected, got),
        one_sided => Some(one_sided),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference(expected: &Value, got: &Value) -> Option<(String, String, String)> {
        first_difference(expected, got).map(|d| (d.path, d.expected, d.got))
    }

    #[test]
    fn the_path_leads_to_the_difference() {
        let expected = json!({"type": "request", "messages": [{"key": 1}, {"key": 2, "value": 480}]});
        let mut got = expected.clone();
        got["messages"][1]["value"] = json!(481);
        assert_eq!(
            difference(&expected, &got),
            Some(("messages[1].value".into(), "480".into(), "481".into()))
        );
    }

    #[test]
    fn missing_and_surplus_things_differ() {
        assert_eq!(
            difference(&json!({"a": 1}), &json!({})),
            Some(("a".into(), "1".into(), "nothing".into()))
        );
        assert_eq!(
            difference(&json!({}), &json!({"a": 1})),
            Some(("a".into(), "nothing".into(), "1".into()))
        );
        assert_eq!(
            difference(&json!([1]), &json!([1, 2])),
            Some(("[1]".into(), "nothing".into(), "2".into()))
        );
    }

    #[test]
    fn order_of_fields_and_form_of_numbers_have_no_meaning() {
        assert_eq!(difference(&json!({"a": 1, "b": 2}), &json!({"b": 2.0, "a": 1})), None);
        assert_eq!(difference(&json!(1), &json!("1")), Some((String::new(), "1".into(), "\"1\"".into())));
        assert_eq!(difference(&json!(i64::MAX), &json!(i64::MAX - 1)).map(|d| d.0), Some(String::new()));
    }

    #[test]
    fn long_texts_are_shown_where_they_part() {
        let text = |end: &str| json!({ "data": format!("{}{end}", "00".repeat(500)) });
        let found = first_difference(&text("ab"), &text("ac11")).expect("they differ");
        assert_eq!((found.path.as_str(), found.character), ("data", Some(1001)));
        assert_eq!(found.expected, format!("...{}ab", "0".repeat(15)).as_str());
        assert_eq!(found.got, format!("...{}ac11", "0".repeat(15)).as_str());
        let short = first_difference(&json!("aab"), &json!("aac")).expect("they differ");
        assert_eq!((short.character, short.got.as_str()), (None, "\"aac\""));
    }

    #[test]
    fn bytes_differ_at_a_byte_or_at_an_end() {
        assert_eq!(first_different_byte(b"abc", b"abc"), None);
        assert_eq!(first_different_byte(b"abc", b"aXc"), Some(1));
        assert_eq!(first_different_byte(b"abc", b"ab"), Some(2));
        assert_eq!(first_different_byte(b"abc", b"abcd"), Some(3));
    }

    #[test]
    fn a_shown_text_is_short_and_harmless() {
        assert_eq!(shorten("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shorten(&"x".repeat(500)), format!("{}... (500 characters)", "x".repeat(SHOWN)));
    }
}
