//! A method as Java finds it: by its name and the exact types of its parameters (SPEC 12.3).
//!
//! What a value must be to be passed is Java's reflection: a number may go where a wider one is declared, null where
//! anything but a primitive is. Of a class that is none of those that have a [`Value`] of their own nothing is known
//! here, so any object may go there.

use fixp_codec::rpc::{Primitive, Type, Value};

/// A method's name and the types of its parameters.
///
/// ```
/// use fixp_codec::rpc::Type;
/// use fixp_rpc::legacy::Signature;
///
/// let add = Signature::new("add", [Type::INT, Type::class("java.lang.String")]);
/// assert_eq!(add.to_string(), "add(int,java.lang.String)");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    name: Box<str>,
    types: Box<[Type]>,
}

impl Signature {
    /// A method of this name with such parameters.
    #[must_use]
    pub fn new(name: &str, types: impl IntoIterator<Item = Type>) -> Self {
        Self { name: name.into(), types: types.into_iter().collect() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The types of its parameters.
    #[must_use]
    pub fn types(&self) -> &[Type] {
        &self.types
    }

    /// Whether a call of this name and types is for it. Types are the same when their names are.
    pub(crate) fn is(&self, name: &str, types: &[Option<Type>]) -> bool {
        let same = |(own, asked): (&Type, &Option<Type>)| {
            asked
                .as_ref()
                .is_some_and(|asked| is_primitive(own) == is_primitive(asked) && own.name() == asked.name())
        };
        *self.name == *name && self.types.len() == types.len() && self.types.iter().zip(types).all(same)
    }

    /// The values as the method takes them, or what Java says against them.
    pub(crate) fn passed(&self, params: Vec<Value>) -> Result<Vec<Value>, &'static str> {
        if params.len() != self.types.len() {
            return Err("wrong number of arguments");
        }
        let passed = self.types.iter().zip(each(params)).map(|(ty, value)| passed(ty, value));
        passed.collect::<Option<_>>().ok_or("argument type mismatch")
    }
}

/// As Java's exceptions write it.
impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name, names(self.types.iter().map(Some)))
    }
}

/// Parameters, each by itself: of an array or object that is passed twice lexst1 writes the second as an alias.
fn each(params: Vec<Value>) -> Vec<Value> {
    if !params.iter().any(|param| matches!(param, Value::Alias(_))) {
        return params;
    }
    let named = |param: &Value| match param {
        Value::Alias(number) => params.iter().find_map(|param| param.anchored(*number)).cloned(),
        _ => None,
    };
    params.iter().map(|param| named(param).unwrap_or_else(|| param.clone())).collect()
}

/// How long the names of types in an exception's text may grow. One name of 64 KiB that a stream refers to half a
/// million times would be one of 32 GiB.
const NAMES: usize = 1024;

/// The names of types, with commas between; beyond [`NAMES`] bytes, three points for the others (SPEC 12.9).
pub(crate) fn names<'t>(types: impl Iterator<Item = Option<&'t Type>>) -> String {
    let mut names = String::new();
    for (at, ty) in types.enumerate() {
        if at > 0 {
            names.push(',');
        }
        if names.len() > NAMES {
            names.push_str("...");
            break;
        }
        match ty {
            Some(ty) => names.push_str(&ty.name().to_string()),
            None => names.push_str("null"),
        }
    }
    names
}

const fn is_primitive(ty: &Type) -> bool {
    matches!(ty, Type::Primitive(_))
}

/// A value as a parameter of a type, if it may be one.
fn passed(ty: &Type, value: Value) -> Option<Value> {
    match ty {
        Type::Primitive(primitive) => widened(*primitive, value),
        Type::Class(class) => {
            let declared = class.name.as_str().unwrap_or_default();
            may_be(declared, &value).then_some(value)
        }
    }
}

/// A number, a character or a boolean where such a primitive is declared (Java's widening).
fn widened(to: Primitive, value: Value) -> Option<Value> {
    macro_rules! wide {
        ($to:ident of $($from:ident)*) => {
            match value {
                Value::$to(_) => Some(value),
                $(Value::$from(number) => Some(Value::$to(number.into())),)*
                _ => None,
            }
        };
    }
    match (to, &value) {
        (Primitive::Void, _) => None,
        // Java, too, gives the nearest that there is.
        (Primitive::Float, Value::Int(number)) => Some(Value::Float(*number as f32)),
        (Primitive::Float, Value::Long(number)) => Some(Value::Float(*number as f32)),
        (Primitive::Double, Value::Long(number)) => Some(Value::Double(*number as f64)),
        (Primitive::Boolean, _) => wide!(Boolean of),
        (Primitive::Byte, _) => wide!(Byte of),
        (Primitive::Char, _) => wide!(Char of),
        (Primitive::Short, _) => wide!(Short of Byte),
        (Primitive::Int, _) => wide!(Int of Byte Short Char),
        (Primitive::Long, _) => wide!(Long of Byte Short Char Int),
        (Primitive::Float, _) => wide!(Float of Byte Short Char),
        (Primitive::Double, _) => wide!(Double of Byte Short Char Int Float),
    }
}

/// Whether a value may go where a class is declared.
fn may_be(declared: &str, value: &Value) -> bool {
    let value = value.unanchored();
    if matches!(value, Value::Null | Value::Alias(_)) || declared == "java.lang.Object" {
        return true;
    }
    let own = match value {
        Value::Boolean(_) => Primitive::Boolean.boxed(),
        Value::Byte(_) => Primitive::Byte.boxed(),
        Value::Char(_) => Primitive::Char.boxed(),
        Value::Short(_) => Primitive::Short.boxed(),
        Value::Int(_) => Primitive::Int.boxed(),
        Value::Long(_) => Primitive::Long.boxed(),
        Value::Float(_) => Primitive::Float.boxed(),
        Value::Double(_) => Primitive::Double.boxed(),
        Value::String(_) => "java.lang.String",
        Value::Class(_) => "java.lang.Class",
        Value::Booleans(_) => "[Z",
        Value::Bytes(_) => "[B",
        Value::Chars(_) => "[C",
        Value::Shorts(_) => "[S",
        Value::Ints(_) => "[I",
        Value::Longs(_) => "[J",
        Value::Floats(_) => "[F",
        Value::Doubles(_) => "[D",
        // Any array of objects is an Object[], and only itself beside that (SPEC 12.18).
        Value::Array(array) => {
            return declared == "[Ljava.lang.Object;" || array.class.name == declared;
        }
        Value::Object(object) if object.class.is(declared) => return true,
        _ => "",
    };
    if own.is_empty() { !is_own(declared) } else { own == declared || is_above(declared) }
}

/// Whether the values of a class are of one kind, which is not that of objects.
fn is_own(name: &str) -> bool {
    name == "java.lang.String"
        || name == "java.lang.Class"
        || name.starts_with('[')
        || Primitive::ALL.into_iter().any(|primitive| primitive.boxed() == name)
}

/// What numbers and strings are beside themselves.
fn is_above(name: &str) -> bool {
    matches!(
        name,
        "java.lang.Number" | "java.lang.Comparable" | "java.lang.CharSequence" | "java.io.Serializable"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn numbers_widen_as_in_java() {
        let take = |ty: Type, value: Value| {
            Signature::new("m", [ty]).passed(vec![value]).ok().and_then(|mut it| it.pop())
        };
        assert_eq!(take(Type::INT, Value::Byte(-3)), Some(Value::Int(-3)));
        assert_eq!(take(Type::LONG, Value::Char(0xffff)), Some(Value::Long(65535)));
        assert_eq!(take(Type::DOUBLE, Value::Float(0.5)), Some(Value::Double(0.5)));
        assert_eq!(take(Type::FLOAT, Value::Long(7)), Some(Value::Float(7.0)));
        for (ty, value) in [
            (Type::BYTE, Value::Int(1)),
            (Type::SHORT, Value::Char(1)),
            (Type::CHAR, Value::Short(1)),
            (Type::INT, Value::Long(1)),
            (Type::INT, Value::Null),
            (Type::INT, Value::from("x")),
            (Type::BOOLEAN, Value::Byte(1)),
            (Type::string(), Value::Int(1)),
            (Type::bytes(), Value::Ints([1].into())),
            // What laxcus6 makes of a String[].
            (Type::class("[Ljava.lang.String;"), Value::objects(vec!["x".into()])),
        ] {
            assert_eq!(take(ty.clone(), value.clone()), None, "{ty:?} {value:?}");
        }
    }

    #[test]
    fn objects_go_where_nothing_is_known() {
        let take =
            |ty: &str, value: Value| Signature::new("m", [Type::class(ty)]).passed(vec![value]).is_ok();
        assert!(take("java.lang.Object", Value::Int(1)));
        assert!(take("java.lang.String", Value::Null));
        assert!(take("java.lang.Number", Value::Int(1)));
        assert!(take("[Ljava.lang.Object;", Value::strings(["x"])));
        assert!(take("[Ljava.lang.String;", Value::strings(["x"])));
        assert!(!take("demo.Node", Value::Int(1)));
        assert!(!take("demo.Node", Value::objects(vec![])));
    }

    #[test]
    fn types_are_told_by_name() {
        let add = Signature::new("add", [Type::INT, Type::INT]);
        assert!(!add.is("add", &[Some(Type::INT), Some(Type::class("int"))]));
        assert!(add.is("add", &[Some(Type::INT), Some(Type::INT)]));
        assert!(!add.is("add", &[Some(Type::INT), None]));
        assert!(!add.is("add", &[Some(Type::INT)]));
        assert_eq!(names([None, Some(&Type::bytes())].into_iter()), "null,[B");
    }

    /// As lexst1 has it, where one array is passed twice.
    #[test]
    fn what_is_passed_twice_is_there_twice() {
        let strings = Type::class("[Ljava.lang.String;");
        let both = Signature::new("m", [strings.clone(), strings]);
        let items = Value::strings(["x"]);
        let params = vec![Value::Anchor(3, Box::new(items.clone())), Value::Alias(3)];
        let passed = both.passed(params).unwrap();
        assert_eq!(passed.iter().map(Value::unanchored).collect::<Vec<_>>(), [&items, &items]);
        let other = Signature::new("m", [Type::class("[Ljava.lang.String;"), Type::string()]);
        let params = vec![Value::Anchor(3, Box::new(items)), Value::Alias(3)];
        assert_eq!(other.passed(params), Err("argument type mismatch"));
    }

    #[test]
    fn names_that_are_repeated_cost_nothing() {
        let long = Type::class("x".repeat(60_000));
        let text = names(std::iter::repeat_n(Some(&long), 500_000));
        assert_eq!((text.len(), text.ends_with("x,...")), (60_004, true));
        let short = names(std::iter::repeat_n(Some(&Type::INT), 300));
        assert!(short.ends_with("int,...") && short.len() < NAMES + 10, "{}", short.len());
    }
}
