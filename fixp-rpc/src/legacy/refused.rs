//! What is thrown for an entity that does not decode: what the program's decoder was recorded to throw (SPEC 12.6).

use fixp_codec::rpc::{Cause, Error, Throwable};

use super::form::Form;

impl Form {
    /// What is thrown for an entity that does not decode.
    pub(crate) fn undecodable(self, error: Error) -> Throwable {
        if let Some(thrown) = beyond_limits(error) {
            return thrown;
        }
        match self {
            #[cfg(feature = "lexst1")]
            Self::Lexst1 => of_stream(error),
            #[cfg(feature = "laxcus6")]
            Self::Laxcus6 if error.is_in_java() => {
                let cause = of_stream(error);
                let thrown = Throwable::new("java.lang.UnsupportedOperationException", cause.to_string());
                Throwable { cause: Some(Box::new(cause)), ..thrown }
            }
            #[cfg(feature = "laxcus6")]
            Self::Laxcus6 => of_tags(error),
        }
    }
}

/// What is beyond the limits (SPEC 12.41).
fn beyond_limits(error: Error) -> Option<Throwable> {
    match error.cause() {
        Cause::DepthLimit => Some(Throwable::new("java.lang.StackOverflowError", error.to_string())),
        Cause::BytesLimit | Cause::ValuesLimit => Some(Form::too_large(error.needed(), error.had())),
        _ => None,
    }
}

/// What is wrong with a stream of Java objects.
fn of_stream(error: Error) -> Throwable {
    let number = error.number();
    let (class, text) = match error.cause() {
        Cause::Cut => ("java.io.EOFException", None),
        Cause::Text => ("java.io.UTFDataFormatException", None),
        Cause::Block => ("java.io.OptionalDataException", None),
        Cause::Class => ("java.lang.NullPointerException", None),
        Cause::Null => ("java.lang.NullPointerException", Some("null point request!".to_owned())),
        Cause::NegativeCount => {
            ("java.lang.NegativeArraySizeException", Some(number.cast_signed().to_string()))
        }
        Cause::Interfaces => {
            let text = format!("interface limit exceeded: {}, limit: {}", error.needed(), error.had());
            ("java.io.InvalidObjectException", Some(text))
        }
        Cause::Flags | Cause::Field | Cause::OtherNumber => {
            ("java.io.InvalidClassException", Some(error.to_string()))
        }
        Cause::OtherClass | Cause::OtherType => ("java.lang.ClassCastException", Some(error.to_string())),
        Cause::NoClass => ("java.lang.ClassNotFoundException", Some(error.to_string())),
        Cause::Element => ("java.lang.ArrayStoreException", Some(error.to_string())),
        cause => {
            let text = match cause {
                Cause::Magic => format!("invalid stream header: {number:08X}"),
                Cause::Code => format!("invalid type code: {number:02X}"),
                Cause::Reference => format!("invalid handle value: {number:08X}"),
                _ => error.to_string(),
            };
            ("java.io.StreamCorruptedException", Some(text))
        }
    };
    Throwable { message: text.map(Into::into), ..Throwable::new(class, "") }
}

/// What is wrong with the tagged form of laxcus6.
#[cfg(feature = "laxcus6")]
fn of_tags(error: Error) -> Throwable {
    const MOST: usize = fixp_codec::rpc::Limits::BYTES;
    let (number, at, had) = (error.number().cast_signed(), error.offset(), error.had());
    // So many bytes from there on, where a part has less than one, or where there are less.
    let out_of_bounds = |needed: i64, at: usize| {
        let text = format!("{needed} < 1 || {at} + {needed} > {}", at.saturating_add(had));
        Throwable::new("java.lang.IndexOutOfBoundsException", text)
    };
    match error.cause() {
        // The program allocates what is announced, and no input is so long.
        Cause::Cut if error.needed() > MOST => Form::too_large(error.needed(), MOST),
        Cause::Cut => out_of_bounds(i64::try_from(error.needed()).unwrap_or(i64::MAX), at),
        // Its length stands before it.
        Cause::Empty => out_of_bounds(number.into(), at + 4),
        Cause::NegativeLength => {
            let text = format!("illegal size {number}");
            Throwable::new("com.laxcus.util.classable.ClassableException", text)
        }
        Cause::NegativeCount => Throwable::new("java.lang.NegativeArraySizeException", number.to_string()),
        // A type without a name.
        Cause::Class => Throwable { message: None, ..Throwable::new("java.lang.NullPointerException", "") },
        Cause::OtherType => Throwable::new("java.lang.ClassCastException", error.to_string()),
        Cause::Code => {
            let tag = error.number().to_le_bytes()[0].cast_signed();
            Throwable::new("java.lang.UnsupportedOperationException", format!("illegal flag {tag}"))
        }
        _ => Throwable::new("java.lang.UnsupportedOperationException", error.to_string()),
    }
}

#[cfg(all(test, feature = "lexst1", feature = "laxcus6"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeSet;

    use conformance_vectors::{Class, Kind, Vector};
    use fixp_codec::rpc::{Reply, Throwable};

    use crate::legacy::form::Form;

    /// What ours throws something else for, and why.
    const OTHER: [(&str, &str, &str); 7] = [
        ("laxcus6/rpc/call-types-len-1000000", "java.lang.OutOfMemoryError", "beyond our limit of values"),
        ("laxcus6/rpc/call-params-len-1000000", "java.lang.OutOfMemoryError", "beyond our limit of values"),
        ("laxcus6/rpc/reply-objects-len-1000000", "java.lang.OutOfMemoryError", "beyond our limit of values"),
        ("lexst1/rpc/call-types-len-1m", "java.io.EOFException", "more than the bytes that are there"),
        ("lexst1/rpc/call-bytes-len-50000000", "java.io.EOFException", "within our limit, if not its memory"),
        ("lexst1/rpc/call-exception-code", "java.io.StreamCorruptedException", "code 7b is read no further"),
        (
            "lexst1/rpc/call-field-type-wrong",
            "java.io.InvalidClassException",
            "a class that cannot be is read no further",
        ),
    ];

    /// The classes whose number no recording shows: they go as RuntimeExceptions that name them (SPEC 12.40).
    const UNNUMBERED: [&str; 8] = [
        "com.laxcus.util.classable.ClassableException",
        "java.io.InvalidClassException",
        "java.io.InvalidObjectException",
        "java.io.OptionalDataException",
        "java.io.StreamCorruptedException",
        "java.io.UTFDataFormatException",
        "java.lang.ClassCastException",
        "java.lang.NegativeArraySizeException",
    ];

    /// What stands in the texts of the program and not in ours: its classes, its memory, and no text at all where the
    /// program was not asked by a server. The elements of arrays it reads one by one.
    fn has_text_of_its_own(vector: &Vector, recorded: &str) -> bool {
        ["ClassCast", "InvalidClass", "ClassNotFound", "OutOfMemory"]
            .iter()
            .any(|it| recorded.starts_with(it))
            || recorded == "IndexOutOfBoundsException"
            || recorded.starts_with("IndexOutOfBounds")
                && ["s-len-3", "s-len-4", "s-len-100"].iter().any(|it| vector.id.contains(it))
            || vector.id == "lexst1/rpc/call-first-code-7b"
    }

    /// What the program threw for a vector's bytes, if it did, as Java prints it, but for the packages of classes.
    fn recorded(vector: &Vector) -> Option<&str> {
        let refused = vector.class == Class::Invalid && vector.recorded.as_deref() == Some("rejected");
        let (_, thrown) = vector.comment.split_once("; the program says ").filter(|_| refused)?;
        Some(thrown.split_once(" (changed: ").map_or(thrown, |(thrown, _)| thrown))
    }

    /// What ours throws for them.
    fn thrown(vector: &Vector) -> Throwable {
        let form = match &*vector.dialect {
            "lexst1" => Form::Lexst1,
            _ => Form::Laxcus6,
        };
        let bytes = hex::decode(vector.hex.as_ref().unwrap()).unwrap();
        let error = match vector.kind {
            Kind::Call => form.read_call(&bytes).err(),
            _ => form.read_reply(&bytes).err(),
        };
        form.undecodable(error.unwrap_or_else(|| panic!("{} is read", vector.id)))
    }

    /// SPEC 12.6. Of an answer the program threw at its client; what is wrong in it can stand in a call as well.
    #[test]
    fn what_does_not_decode_throws_as_recorded() {
        let vectors = conformance_vectors::all().unwrap();
        let (mut held, mut other, mut unnumbered) = (0, Vec::new(), BTreeSet::new());
        for vector in vectors.iter().filter(|it| matches!(it.kind, Kind::Call | Kind::Reply)) {
            let Some(recorded) = recorded(vector) else { continue };
            let Throwable { class, message, cause, .. } = thrown(vector);
            let class = class.to_string();
            let sent = Reply::threw(&Throwable::new(&*class, "")).throwable;
            if Throwable::of(&sent.unwrap()).unwrap().class != *class {
                unnumbered.insert(class.clone());
            }
            held += 1;
            let (simple, text) = recorded.split_once(": ").map_or((recorded, None), |(a, b)| (a, Some(b)));
            if class.rsplit('.').next() != Some(simple) {
                other.push((&*vector.id, class));
            } else if !has_text_of_its_own(vector, recorded) {
                assert_eq!(message.map(|it| it.to_string()).as_deref(), text, "{}", vector.id);
            }
            // What a Java stream throws goes with what laxcus6 makes of it, which says so.
            assert_eq!(cause.is_some(), text.is_some_and(|it| it.starts_with("java.io.")), "{}", vector.id);
        }
        assert_eq!(held, 898);
        other.sort();
        let mut known = OTHER.map(|(id, class, _)| (id, class.to_owned()));
        known.sort();
        assert_eq!(other, known);
        assert_eq!(unnumbered, UNNUMBERED.map(str::to_owned).into());
    }
}
