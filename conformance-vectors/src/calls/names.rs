//! The names of types: Java's own, and those of the JSON forms.

use fixp_codec::rpc::{Primitive, Type};

/// Classes of java.lang that the JSON forms name without their package.
const SHORT: [&str; 14] = [
    "Object",
    "String",
    "Class",
    "Number",
    "Byte",
    "Short",
    "Integer",
    "Long",
    "Character",
    "Boolean",
    "Float",
    "Double",
    "Void",
    "Throwable",
];

/// Stands for a type of which no class can have the name.
pub(super) const UNRESOLVED: &str = "unresolved";

/// The name of a type in the JSON forms: `int`, `String`, `byte[]`, `java.util.Date`.
pub(super) fn of_type(ty: Option<&Type>) -> String {
    match ty {
        None => UNRESOLVED.to_owned(),
        Some(Type::Primitive(primitive)) => primitive.name().to_owned(),
        Some(Type::Class(class)) => of_class(&class.name.to_string()),
    }
}

/// The name in the JSON forms of a class that Java names so: `[Ljava.lang.String;`.
pub(super) fn of_class(name: &str) -> String {
    let element = name.trim_start_matches('[');
    let dimensions = name.len() - element.len();
    let plain = match (dimensions, element.as_bytes()) {
        (0, _) => is_class(element).then(|| shortened(element)),
        (_, &[code]) => Primitive::of_code(code).map(|it| it.name().to_owned()),
        (_, [b'L', .., b';']) => {
            let class = &element[1..element.len() - 1];
            is_class(class).then(|| shortened(class))
        }
        _ => None,
    };
    plain.map_or_else(|| UNRESOLVED.to_owned(), |plain| plain + &"[]".repeat(dimensions))
}

/// The type of a name in the JSON forms.
pub(super) fn to_type(name: &str) -> Option<Type> {
    match Primitive::named(name) {
        Some(primitive) => Some(Type::Primitive(primitive)),
        None => (name != UNRESOLVED).then(|| Type::class(to_class(name))),
    }
}

/// Java's name of a class that the JSON forms name so.
pub(super) fn to_class(name: &str) -> String {
    let element = name.trim_end_matches("[]");
    let dimensions = (name.len() - element.len()) / 2;
    let full = if SHORT.contains(&element) { format!("java.lang.{element}") } else { element.to_owned() };
    if dimensions == 0 {
        return full;
    }
    let code = Primitive::ALL.into_iter().find(|it| it.name() == element).and_then(code_of);
    let element = code.map_or_else(|| format!("L{full};"), |code| char::from(code).to_string());
    "[".repeat(dimensions) + &element
}

fn code_of(primitive: Primitive) -> Option<u8> {
    b"ZBCSIJFD".iter().copied().find(|code| Primitive::of_code(*code) == Some(primitive))
}

fn shortened(class: &str) -> String {
    let short = class.strip_prefix("java.lang.").filter(|rest| SHORT.contains(rest));
    short.unwrap_or(class).to_owned()
}

/// Whether a class, and no array and no primitive type, can have this name.
fn is_class(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', ';', '[']) && Primitive::named(name).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for (java, json) in [
            ("java.lang.String", "String"),
            ("java.lang.reflect.Method", "java.lang.reflect.Method"),
            ("java.lang.IllegalStateException", "java.lang.IllegalStateException"),
            ("RpcBean", "RpcBean"),
            ("[B", "byte[]"),
            ("[[I", "int[][]"),
            ("[Ljava.lang.Object;", "Object[]"),
            ("[Lcom.laxcus.site.Node;", "com.laxcus.site.Node[]"),
        ] {
            assert_eq!((of_class(java).as_str(), to_class(json).as_str()), (json, java));
        }
    }

    #[test]
    fn no_class_has_these_names() {
        for name in ["", "int", "java.lang.String[]", "[Ljava/lang/String;", "[", "[X", "[L;", "a;"] {
            assert_eq!(of_class(name), UNRESOLVED, "{name}");
        }
        assert_eq!(to_type(UNRESOLVED), None);
    }
}
