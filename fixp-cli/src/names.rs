//! Requests, keys and values as words of the arguments: `NOTIFY/TEST`, `1/5`, `SPEAK=string:TEST!`.

use bytes::Bytes;
use fixp_codec::{Code, Deflated, Dialect, Message, Type, Value};

use crate::failure::Failure;
use crate::{hex_text, input};

/// The request of `NOTIFY/TEST` or `1/5`.
pub(crate) fn request(text: &str, dialect: &Dialect) -> Result<Code, Failure> {
    let unknown = || {
        let name = dialect.name();
        Failure::Usage(format!(
            "{text:?} is no request of {name}, such as NOTIFY/TEST or 1/5 (see fixp dialects {name})"
        ))
    };
    let (major, minor) = text.split_once('/').ok_or_else(unknown)?;
    let rows = dialect.requests().majors();
    let row = rows.iter().find(|row| is(major, row.name, row.number.into()));
    let major = row.map(|row| row.number).or_else(|| major.parse().ok()).ok_or_else(unknown)?;
    let minors = row.map_or(&[][..], |row| row.minors);
    let named = minors.iter().find(|row| is(minor, row.name, row.number.into())).map(|row| row.number);
    let minor = named.or_else(|| minor.parse().ok()).ok_or_else(unknown)?;
    Ok(Code::Request { major, minor })
}

/// The message of `KEY=TYPE:VALUE`.
pub(crate) fn message(text: &str, dialect: &Dialect) -> Result<Message, Failure> {
    let usage = |what: String| Failure::Usage(format!("--message {text:?}: {what}"));
    let form = || usage("not KEY=TYPE:VALUE, such as SPEAK=string:TEST!".to_owned());
    let (key, rest) = text.split_once('=').ok_or_else(form)?;
    let (ty, text) = rest.split_once(':').ok_or_else(form)?;
    let row = dialect.keys().iter().find(|row| is(key, row.name, row.number));
    let key = row.map(|row| row.number).or_else(|| key.parse().ok());
    let key = key.ok_or_else(|| usage(format!("no key of {0} (see fixp dialects {0})", dialect.name())))?;
    let ty = Type::by_name(ty).ok_or_else(|| {
        usage(format!("{ty:?} is no type; there are {}", Type::ALL.map(Type::name).join(", ")))
    })?;
    let value = value(ty, text).map_err(usage)?;
    Ok(Message { key, value })
}

/// The entity of a text, `hex:DIGITS`, or `@FILE`; `text:` stands in front of a text that begins like one of them.
pub(crate) fn entity(text: &str) -> Result<Bytes, Failure> {
    if let Some(path) = text.strip_prefix('@') {
        return input::file(path).map(Bytes::from);
    }
    if let Some(digits) = text.strip_prefix("hex:") {
        return hex_text::parse(digits.as_bytes()).map(Bytes::from).map_err(Failure::Hex);
    }
    Ok(Bytes::from(text.strip_prefix("text:").unwrap_or(text).to_owned()))
}

/// The name of a code, or its number.
pub(crate) fn of_code(code: Code, dialect: &Dialect) -> String {
    match (dialect.code_name(code), code) {
        (Some(name), _) => name.to_owned(),
        (None, Code::Request { major, minor }) => format!("{major}/{minor}"),
        (None, Code::Answer(code)) => code.to_string(),
    }
}

/// Whether a word is a name, in letters of either case, or the number beside it.
fn is(word: &str, name: &str, number: u16) -> bool {
    word.eq_ignore_ascii_case(name) || word.parse() == Ok(number)
}

fn value(ty: Type, text: &str) -> Result<Value, String> {
    fn parsed<T: std::str::FromStr>(ty: Type, text: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("{text:?} is no {}", ty.name()))
    }
    let bytes = || hex_text::parse(text.as_bytes()).map_err(|bad| bad.to_string());
    Ok(match ty {
        Type::Raw => Value::Raw(bytes()?.into()),
        Type::Boolean => Value::Boolean(parsed(ty, text)?),
        Type::String => Value::String(text.to_owned()),
        Type::Int16 => Value::Int16(parsed(ty, text)?),
        Type::Int32 => Value::Int32(parsed(ty, text)?),
        Type::Int64 => Value::Int64(parsed(ty, text)?),
        Type::Float32 => Value::Float32(parsed(ty, text)?),
        Type::Float64 => Value::Float64(parsed(ty, text)?),
        Type::ZRaw => Value::ZRaw(Deflated::of(&bytes()?)),
        Type::ZString => Value::ZString(Deflated::of(text.as_bytes())),
    })
}

#[cfg(test)]
mod tests {
    use fixp_codec::{LAXCUS6, LEXST1, laxcus6, lexst1};

    use super::*;

    #[test]
    fn requests_have_names_and_numbers() {
        for text in ["NOTIFY/TEST", "1/5", "notify/test", "1/TEST", "notify/5"] {
            assert_eq!(request(text, &LAXCUS6).unwrap(), laxcus6::notify::TEST, "{text}");
        }
        assert_eq!(request("NOTIFY/HELO", &LEXST1).unwrap(), lexst1::notify::HELO);
        // Whether it is legal the encoder says.
        assert_eq!(request("200/3", &LAXCUS6).unwrap(), Code::Request { major: 200, minor: 3 });
        for text in ["TEST", "1", "1/", "/5", "NOTIFY/NONE", "256/1", "1/256", "1/5/1"] {
            assert!(request(text, &LAXCUS6).is_err(), "{text}");
        }
    }

    #[test]
    fn messages_have_keys_types_and_values() {
        let read = |text: &str| message(text, &LAXCUS6).map_err(|failure| failure.to_string());
        assert_eq!(read("SPEAK=string:a=b:c"), Ok(Message::new(laxcus6::key::SPEAK, "a=b:c")));
        assert_eq!(read("5001=int32:-7"), Ok(Message::new(5001, -7)));
        assert_eq!(read("5001=float64:1.5"), Ok(Message::new(5001, 1.5_f64)));
        assert_eq!(read("5001=raw:00 ff"), Ok(Message::new(5001, &[0, 255][..])));
        assert_eq!(read("5001=boolean:true"), Ok(Message::new(5001, true)));
        for text in ["SPEAK", "SPEAK=x", "NOBODY=int32:1", "1=int33:1", "1=int16:32768", "1=raw:f"] {
            let sentence = read(text).unwrap_err();
            assert!(sentence.starts_with("--message ") && !sentence.contains('\n'), "{sentence}");
        }
    }

    #[test]
    fn entities_are_texts_or_hex() {
        let read = |text: &str| entity(text).unwrap();
        assert_eq!(read("cafe"), "cafe");
        assert_eq!(read("hex:ca fe"), &[0xca, 0xfe][..]);
        assert_eq!(read("text:@hex:"), "@hex:");
        assert_eq!(read(""), "");
    }
}
