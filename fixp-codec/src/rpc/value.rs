//! Java values, as trees.
//!
//! ```
//! use fixp_codec::rpc::Value;
//!
//! let value = Value::from("helo");
//! assert_eq!((value.as_str(), value.as_i32()), (Some("helo"), None));
//! let strings = Value::strings(["p", "q"]);
//! assert_eq!(strings.as_items().and_then(|items| items[1].as_str()), Some("q"));
//! assert_eq!(Value::Float(f32::NAN), Value::Float(f32::NAN), "bits are compared");
//! ```

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Class, Text, Type};

/// A Java value: null, a number in its box or not, text, an array, an object.
///
/// Numbers, texts and arrays of numbers are plain values here; what Java shares, clones of a [`Text`] or of an
/// `Arc`, are one object to it. Other arrays and objects that occur again, or within themselves, are an
/// [`Anchor`](Self::Anchor) where they come first and an [`Alias`](Self::Alias) from then on, as in YAML.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    Null,
    /// A boolean, or Boolean.
    Boolean(bool),
    /// A byte, or Byte.
    Byte(i8),
    /// A char, or Character: a UTF-16 code unit.
    Char(u16),
    /// A short, or Short.
    Short(i16),
    /// An int, or Integer.
    Int(i32),
    /// A long, or Long.
    Long(i64),
    /// A float, or Float, compared by its bits.
    Float(f32),
    /// A double, or Double, compared by its bits.
    Double(f64),
    /// A String.
    String(Text),
    /// boolean[].
    Booleans(Arc<[bool]>),
    /// byte[].
    Bytes(Arc<[u8]>),
    /// char[].
    Chars(Arc<[u16]>),
    /// short[].
    Shorts(Arc<[i16]>),
    /// int[].
    Ints(Arc<[i32]>),
    /// long[].
    Longs(Arc<[i64]>),
    /// float[], compared by bits.
    Floats(Arc<[f32]>),
    /// double[], compared by bits.
    Doubles(Arc<[f64]>),
    /// Any other array.
    Array(Box<Array>),
    /// A class object.
    Class(Type),
    /// A description of a class, which a Java stream can hand out as a value.
    Descriptor(Arc<Class>),
    /// A constant of an enum.
    Enum(Box<Enum>),
    /// An object of any other class.
    Object(Box<Object>),
    /// An object in laxcus6's own encoding.
    Classable(Box<Classable>),
    /// A value that occurs again. The number names it within its stream: in lexst1 the whole call or
    /// answer, in laxcus6 one value.
    Anchor(u32, Box<Self>),
    /// The value of the anchor of this number, which comes before it or is around it. It has none where it
    /// named the call or the answer itself, or the list of parameters; such an alias cannot be written.
    Alias(u32),
}

/// An array of objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Array {
    /// Its class: `[Ljava.lang.Object;`. laxcus6 knows no other.
    pub class: Arc<Class>,
    /// Its elements.
    pub items: Vec<Value>,
}

/// A constant of an enum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enum {
    /// The enum.
    pub class: Arc<Class>,
    /// The constant's name.
    pub constant: Text,
}

/// An object: the fields of its class and of those this extends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its class.
    pub class: Arc<Class>,
    /// What each class of the chain has of it, the one extended by all others first. An externalizable
    /// object has one part, that of its class.
    pub parts: Vec<Part>,
}

/// What one class has of an object.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Part {
    /// The values of [`Class::fields`], in their order.
    pub fields: Vec<Value>,
    /// What the class's own method wrote behind them.
    pub annotation: Vec<Content>,
}

/// A piece of what a class's own method wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Bytes.
    Block(Arc<[u8]>),
    /// A value.
    Value(Value),
}

/// An object in laxcus6's own encoding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Classable {
    /// The name of its class.
    pub class: Text,
    /// Its fields as they are. `fixp_transport::host` reads those of Address, SocketHost and Node.
    pub fields: Arc<[u8]>,
}

impl Object {
    /// The parts, each with its class, the class's own last.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = (&Class, &Part)> {
        self.class.parts().into_iter().zip(&self.parts)
    }

    /// The field of this name, that of the class before those it extends.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.parts().rev().find_map(|(class, part)| {
            let at = class.fields.iter().position(|field| field.name == name)?;
            part.fields.get(at)
        })
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident $number:ident $variant:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> Option<$number> {
            match self.unanchored() {
                Self::$variant(number) => Some(*number),
                _ => None,
            }
        }
    )*};
}

impl Value {
    /// An `Object[]`.
    #[must_use]
    pub fn objects(items: Vec<Self>) -> Self {
        Self::array("[Ljava.lang.Object;", items)
    }

    /// A `String[]`.
    #[must_use]
    pub fn strings<T: Into<Text>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::array("[Ljava.lang.String;", items.into_iter().map(|text| Self::String(text.into())).collect())
    }

    /// An array of this class.
    #[must_use]
    pub fn array(class: &str, items: Vec<Self>) -> Self {
        Self::Array(Box::new(Array { class: Arc::new(Class::named(class)), items }))
    }

    /// The value itself, where this is an anchor.
    #[must_use]
    pub fn unanchored(&self) -> &Self {
        match self {
            Self::Anchor(_, value) => value,
            value => value,
        }
    }

    numbers! {
        /// A boolean, or Boolean.
        as_bool bool Boolean;
        /// A byte, or Byte.
        as_i8 i8 Byte;
        /// A char, or Character: a UTF-16 code unit.
        as_u16 u16 Char;
        /// A short, or Short.
        as_i16 i16 Short;
        /// An int, or Integer.
        as_i32 i32 Int;
        /// A long, or Long.
        as_i64 i64 Long;
        /// A float, or Float.
        as_f32 f32 Float;
        /// A double, or Double.
        as_f64 f64 Double;
    }

    /// The bytes of a byte[].
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self.unanchored() {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements of an array that is not of numbers.
    #[must_use]
    pub fn as_items(&self) -> Option<&[Self]> {
        match self.unanchored() {
            Self::Array(array) => Some(&array.items),
            _ => None,
        }
    }

    /// An object of a class that has no variant of its own.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self.unanchored() {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The text of a String, unless it has unpaired surrogates.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self.unanchored() {
            Self::String(text) => text.as_str(),
            _ => None,
        }
    }

    /// The anchor of this number in here, for an [`Alias`](Self::Alias).
    #[must_use]
    pub fn anchored(&self, number: u32) -> Option<&Self> {
        match self {
            Self::Anchor(own, value) if *own == number => Some(value),
            Self::Anchor(_, value) => value.anchored(number),
            Self::Array(array) => array.items.iter().find_map(|value| value.anchored(number)),
            Self::Object(object) => object.parts.iter().find_map(|part| {
                let contents = part.annotation.iter().filter_map(|content| match content {
                    Content::Value(value) => Some(value),
                    Content::Block(_) => None,
                });
                part.fields.iter().chain(contents).find_map(|value| value.anchored(number))
            }),
            _ => None,
        }
    }
}

/// Floats are compared by their bits.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Byte(a), Self::Byte(b)) => a == b,
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::Short(a), Self::Short(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Long(a), Self::Long(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Double(a), Self::Double(b)) => a.to_bits() == b.to_bits(),
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Booleans(a), Self::Booleans(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Chars(a), Self::Chars(b)) => a == b,
            (Self::Shorts(a), Self::Shorts(b)) => a == b,
            (Self::Ints(a), Self::Ints(b)) => a == b,
            (Self::Longs(a), Self::Longs(b)) => a == b,
            (Self::Floats(a), Self::Floats(b)) => {
                a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
            }
            (Self::Doubles(a), Self::Doubles(b)) => {
                a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
            }
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Class(a), Self::Class(b)) => a == b,
            (Self::Descriptor(a), Self::Descriptor(b)) => a == b,
            (Self::Enum(a), Self::Enum(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            (Self::Classable(a), Self::Classable(b)) => a == b,
            (Self::Anchor(a, x), Self::Anchor(b, y)) => a == b && x == y,
            (Self::Alias(a), Self::Alias(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

macro_rules! from {
    ($($from:ty => $variant:ident;)*) => {$(
        impl From<$from> for Value {
            fn from(it: $from) -> Self {
                Self::$variant(it.into())
            }
        }
    )*};
}

from! {
    bool => Boolean;
    i8 => Byte;
    u16 => Char;
    i16 => Short;
    i32 => Int;
    i64 => Long;
    f32 => Float;
    f64 => Double;
    &str => String;
    String => String;
    Text => String;
    Vec<bool> => Booleans;
    Vec<u8> => Bytes;
    &[u8] => Bytes;
    Vec<u16> => Chars;
    Vec<i16> => Shorts;
    Vec<i32> => Ints;
    Vec<i64> => Longs;
    Vec<f32> => Floats;
    Vec<f64> => Doubles;
    Type => Class;
}

/// Nothing is null.
impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(it: Option<T>) -> Self {
        it.map_or(Self::Null, Into::into)
    }
}
