//! Rust's types as Java's, for typed interfaces of the programs.
//!
//! ```
//! use fixp_codec::rpc::{Type, Value};
//! use fixp_rpc::legacy::Java;
//!
//! assert_eq!((i64::ty(), Value::from(7_i64)), (Type::LONG, 7_i64.into_value()));
//! assert_eq!(<Option<i32>>::ty(), Type::class("java.lang.Integer"));
//! assert_eq!(<Option<String>>::of_value(&Value::Null), Some(None));
//! ```

use fixp_codec::rpc::{Limits, Primitive, Throwable, Type, Value};

use crate::Never;

/// A type that is one of Java's.
///
/// Numbers, booleans and `u16`, a character, are Java's primitives, or within an `Option` the classes that box them; a
/// vector of them is an array. A String, or an array, is an object, and may be null only within an `Option`. But null
/// is read as an empty `Vec<u8>`, since laxcus6 has one form for both (SPEC 12.16); it cannot write an empty one. A
/// `Vec<String>` is a String[], which laxcus6 cannot pass to a method (12.18), but returns;
/// one of more text than [`Limits::BYTES`] is not read.
pub trait Java: Sized + Send {
    /// The declared type of a parameter.
    fn ty() -> Type;

    /// The declared type where null is possible.
    fn nullable() -> Type {
        Self::ty()
    }

    /// It as a value.
    fn into_value(self) -> Value;

    /// It from a value; nothing where that is of another type.
    fn of_value(value: &Value) -> Option<Self>;
}

/// What a method throws as Java's exceptions.
pub trait Exception {
    /// It as a throwable. The classes that are written as themselves are those that the recordings show
    /// (SPEC 12.40).
    fn throwable(&self) -> Throwable;
}

/// A `java.lang.Exception` with this message.
impl Exception for String {
    fn throwable(&self) -> Throwable {
        Throwable::new("java.lang.Exception", self.as_str())
    }
}

impl Exception for Never {
    fn throwable(&self) -> Throwable {
        match *self {}
    }
}

macro_rules! java {
    ($($rust:ty: $primitive:ident $array:ident $accessor:ident;)*) => {$(
        impl Java for $rust {
            fn ty() -> Type {
                Type::Primitive(Primitive::$primitive)
            }

            fn nullable() -> Type {
                Type::class(Primitive::$primitive.boxed())
            }

            fn into_value(self) -> Value {
                self.into()
            }

            fn of_value(value: &Value) -> Option<Self> {
                value.$accessor()
            }
        }

        impl Java for Vec<$rust> {
            fn ty() -> Type {
                Type::class(format!("[{}", Primitive::$primitive.code()))
            }

            fn into_value(self) -> Value {
                self.into()
            }

            fn of_value(value: &Value) -> Option<Self> {
                match value.unanchored() {
                    Value::$array(items) => Some(items.to_vec()),
                    _ => None,
                }
            }
        }
    )*};
}

java! {
    bool: Boolean Booleans as_bool;
    u16: Char Chars as_u16;
    i16: Short Shorts as_i16;
    i32: Int Ints as_i32;
    i64: Long Longs as_i64;
    f32: Float Floats as_f32;
    f64: Double Doubles as_f64;
}

impl Java for i8 {
    fn ty() -> Type {
        Type::BYTE
    }

    fn nullable() -> Type {
        Type::class(Primitive::Byte.boxed())
    }

    fn into_value(self) -> Value {
        self.into()
    }

    fn of_value(value: &Value) -> Option<Self> {
        value.as_i8()
    }
}

impl Java for Vec<u8> {
    fn ty() -> Type {
        Type::bytes()
    }

    fn into_value(self) -> Value {
        self.into()
    }

    fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::new()),
            value => value.as_bytes().map(<[u8]>::to_vec),
        }
    }
}

/// Text without unpaired surrogates.
impl Java for String {
    fn ty() -> Type {
        Type::string()
    }

    fn into_value(self) -> Value {
        self.into()
    }

    fn of_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Java for Vec<String> {
    fn ty() -> Type {
        Type::class("[Ljava.lang.String;")
    }

    fn into_value(self) -> Value {
        Value::strings(self)
    }

    fn of_value(value: &Value) -> Option<Self> {
        let items = value.as_items()?;
        // One long text that lexst1 refers to half a million times would be as many here.
        let len: usize = items.iter().filter_map(Value::as_str).map(str::len).sum();
        (len <= Limits::BYTES).then(|| items.iter().map(String::of_value).collect())?
    }
}

impl<T: Java> Java for Option<T> {
    fn ty() -> Type {
        T::nullable()
    }

    fn into_value(self) -> Value {
        self.map_or(Value::Null, T::into_value)
    }

    fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::of_value(value).map(Some),
        }
    }
}

/// What a method returns that returns nothing.
impl Java for () {
    fn ty() -> Type {
        Type::Primitive(Primitive::Void)
    }

    fn into_value(self) -> Value {
        Value::Null
    }

    fn of_value(value: &Value) -> Option<Self> {
        (*value == Value::Null).then_some(())
    }
}

/// What the code that the attribute makes needs.
pub mod made {
    pub use fixp_codec::rpc::{Call, Throwable, Value};

    use super::{Exception, Java};

    /// An argument, by its name. One that Java would take and Rust does not, null, is what a method in Java might
    /// throw at it.
    pub fn argument<T: Java>(value: Option<Value>, name: &str) -> Result<T, Throwable> {
        T::of_value(&value.unwrap_or(Value::Null))
            .ok_or_else(|| Throwable::new("java.lang.NullPointerException", name))
    }

    /// What a method without an error of its own returned.
    pub fn value<T: Java>(returned: T) -> Result<Value, Throwable> {
        Ok(returned.into_value())
    }

    /// What a method returned.
    pub fn result<T: Java, E: Exception>(returned: Result<T, E>) -> Result<Value, Throwable> {
        returned.map(T::into_value).map_err(|error| error.throwable())
    }

    /// A method that is not there.
    pub fn no_method(name: &str) -> Throwable {
        Throwable::new("java.lang.NoSuchMethodException", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_again_and_again_is_bounded() {
        let times = |times| {
            let text = Value::from("x".repeat(1 << 20));
            Vec::<String>::of_value(&Value::objects(vec![text; times]))
        };
        assert_eq!(times(2).map(|texts| texts.len()), Some(2));
        assert_eq!(times(65), None);
    }
}
