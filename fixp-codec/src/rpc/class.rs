//! Java's classes as a stream describes them, and the types of parameters. None is ever loaded (SPEC 12.42).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::Text;

/// The bits of [`Class::flags`].
pub mod flag {
    /// Its objects have a free part behind their fields.
    pub const WRITE_METHOD: u8 = 1;
    /// Its objects have fields.
    pub const SERIALIZABLE: u8 = 2;
    /// Its objects write themselves.
    pub const EXTERNALIZABLE: u8 = 4;
    /// They do so in blocks.
    pub const BLOCK_DATA: u8 = 8;
    /// An enum.
    pub const ENUM: u8 = 16;
}

/// A class descriptor: what the stream says of a class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Class {
    /// The name: `java.lang.String`, `[B`, `[Ljava.lang.Object;`. Empty for a dynamic proxy.
    pub name: Text,
    /// The serialVersionUID.
    pub suid: i64,
    /// See [`flag`].
    pub flags: u8,
    /// The fields that its own part of an object has, in their order.
    pub fields: Vec<Field>,
    /// The serializable class it extends.
    pub parent: Option<Arc<Self>>,
    /// Of a dynamic proxy, the interfaces it implements.
    pub interfaces: Option<Vec<Text>>,
}

/// A field of a class.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Field {
    /// Its name.
    pub name: Text,
    /// Its type: `I`, `[B`, `Ljava/lang/String;`. Never empty.
    pub signature: Text,
}

impl Field {
    /// A field.
    #[must_use]
    pub fn new(name: impl Into<Text>, signature: impl Into<Text>) -> Self {
        Self { name: name.into(), signature: signature.into() }
    }

    /// Its type, if that is a primitive one.
    #[must_use]
    pub fn primitive(&self) -> Option<Primitive> {
        Primitive::of_code(self.signature.units().next().and_then(|unit| u8::try_from(unit).ok())?)
    }
}

impl Class {
    /// A class of this name, number and flags, without fields or parent.
    #[must_use]
    pub fn new(name: impl Into<Text>, suid: i64, flags: u8) -> Self {
        Self { name: name.into(), suid, flags, fields: Vec::new(), parent: None, interfaces: None }
    }

    /// The class of a name, as the recordings describe it. One they do not show is taken for one that is not
    /// serializable, which is right for every interface, but for arrays, which all are.
    #[must_use]
    pub fn named(name: impl Into<Text>) -> Self {
        let name = name.into();
        let known = name.as_str().and_then(|name| KNOWN.iter().find(|known| known.0 == name));
        let Some(&(_, suid, boxed)) = known else {
            let is_array = name.units().next() == Some(u16::from(b'['));
            return Self::new(name, 0, if is_array { flag::SERIALIZABLE } else { 0 });
        };
        let class = Self::new(name, suid.cast_signed(), flag::SERIALIZABLE);
        match boxed {
            "" => class,
            "Z" | "C" => class.with("value", boxed),
            _ => class.with("value", boxed).extending(Self::named(NUMBER.0)),
        }
    }

    /// The same class with one more field.
    #[must_use]
    pub fn with(mut self, name: impl Into<Text>, signature: impl Into<Text>) -> Self {
        self.fields.push(Field::new(name, signature));
        self
    }

    /// The same class, extending another.
    #[must_use]
    pub fn extending(mut self, parent: Self) -> Self {
        self.parent = Some(Arc::new(parent));
        self
    }

    /// The class itself, what it extends, and so on.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        core::iter::successors(Some(self), |class| class.parent.as_deref())
    }

    /// The classes that have a part of an object of this one, the one extended by all others first.
    pub(crate) fn parts(&self) -> Vec<&Self> {
        let count = if self.flags & flag::EXTERNALIZABLE == 0 { usize::MAX } else { 1 };
        let mut classes: Vec<&Self> = self.chain().take(count).collect();
        classes.reverse();
        classes
    }

    /// The type that objects of this class box, if it is Java's class for that.
    pub(crate) fn boxes(&self) -> Option<Primitive> {
        let name = self.name.as_str()?;
        let &(_, suid, code) = KNOWN.iter().find(|known| known.0 == name)?;
        let primitive = Primitive::of_code(*code.as_bytes().first()?)?;
        let [field] = self.fields.as_slice() else {
            return None;
        };
        let plain =
            |class: &Self, suid: u64| class.suid == suid.cast_signed() && class.flags == flag::SERIALIZABLE;
        let parent = match (primitive, &self.parent) {
            (Primitive::Boolean | Primitive::Char, None) => true,
            (Primitive::Boolean | Primitive::Char, Some(_)) | (_, None) => false,
            (_, Some(parent)) => parent.name == NUMBER.0 && plain(parent, NUMBER.1) && parent.is_bare(),
        };
        (parent && plain(self, suid) && field.name == "value" && field.signature == code).then_some(primitive)
    }

    fn is_bare(&self) -> bool {
        self.fields.is_empty() && self.parent.is_none()
    }

    /// The type that its class object is.
    pub(crate) fn into_type(self: Arc<Self>) -> Type {
        let primitive = self.name.as_str().and_then(Primitive::named);
        match primitive.filter(|_| self.suid == 0 && self.flags == 0 && self.is_bare()) {
            Some(primitive) => Type::Primitive(primitive),
            None => Type::Class(self),
        }
    }

    /// Whether it, or a class it extends, is of this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.chain().any(|class| class.name == name)
    }
}

/// By all that it is; but a class is not compared with itself, nor with itself as what two others extend.
impl Ord for Class {
    fn cmp(&self, other: &Self) -> Ordering {
        if core::ptr::eq(self, other) {
            return Ordering::Equal;
        }
        let own = |class: &Self| (class.suid, class.flags, class.fields.len());
        own(self)
            .cmp(&own(other))
            .then_with(|| self.name.cmp(&other.name))
            .then_with(|| self.parent.cmp(&other.parent))
            .then_with(|| self.fields.cmp(&other.fields))
            .then_with(|| self.interfaces.cmp(&other.interfaces))
    }
}

impl PartialOrd for Class {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What the boxes of numbers extend.
const NUMBER: (&str, u64, &str) = ("java.lang.Number", 0x86ac_951d_0b94_e08b, "");

/// Classes, their numbers as recorded, and the signature of the one field of those that box a number.
const KNOWN: [(&str, u64, &str); 23] = [
    ("java.lang.String", 0xa0f0_a438_7a3b_b342, ""),
    NUMBER,
    ("java.lang.Boolean", 0xcd20_7280_d59c_faee, "Z"),
    ("java.lang.Byte", 0x9c4e_6084_ee50_f51c, "B"),
    ("java.lang.Character", 0x348b_47d9_6b1a_2678, "C"),
    ("java.lang.Short", 0x684d_3713_3460_da52, "S"),
    ("java.lang.Integer", 0x12e2_a0a4_f781_8738, "I"),
    ("java.lang.Long", 0x3b8b_e490_cc8f_23df, "J"),
    ("java.lang.Float", 0xdaed_c9a2_db3c_f0ec, "F"),
    ("java.lang.Double", 0x80b3_c24a_296b_fb04, "D"),
    ("[Z", 0x578f_2039_14b8_5de2, ""),
    ("[B", 0xacf3_17f8_0608_54e0, ""),
    ("[C", 0xb026_66b0_e25d_84ac, ""),
    ("[S", 0xef83_2e06_e55d_b0fa, ""),
    ("[I", 0x4dba_6026_76ea_b2a5, ""),
    ("[J", 0x7820_04b5_12b1_7593, ""),
    ("[[I", 0x17f7_e44f_198f_893c, ""),
    ("[F", 0x0b9c_8189_22e0_0c42, ""),
    ("[D", 0x3ea6_8c14_ab63_5a1e, ""),
    ("[Ljava.lang.Class;", 0xab16_d7ae_cbcd_5a99, ""),
    ("[Ljava.lang.Object;", 0x90ce_589f_1073_296c, ""),
    ("[Ljava.lang.String;", 0xadd2_56e7_e91d_7b47, ""),
    ("[Ljava.lang.Integer;", 0xfe97_ada0_0183_e21b, ""),
];

/// The types of Java that are no classes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs, reason = "they are named as in Java")]
pub enum Primitive {
    Void,
    Boolean,
    Byte,
    Char,
    Short,
    Int,
    Long,
    Float,
    Double,
}

impl Primitive {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Void,
        Self::Boolean,
        Self::Byte,
        Self::Char,
        Self::Short,
        Self::Int,
        Self::Long,
        Self::Float,
        Self::Double,
    ];

    /// The letter that signatures and the names of array classes use: `I`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Void => "V",
            Self::Boolean => "Z",
            Self::Byte => "B",
            Self::Char => "C",
            Self::Short => "S",
            Self::Int => "I",
            Self::Long => "J",
            Self::Float => "F",
            Self::Double => "D",
        }
    }

    /// The name of the class that boxes it: `java.lang.Integer`.
    #[must_use]
    pub const fn boxed(self) -> &'static str {
        match self {
            Self::Void => "java.lang.Void",
            Self::Boolean => "java.lang.Boolean",
            Self::Byte => "java.lang.Byte",
            Self::Char => "java.lang.Character",
            Self::Short => "java.lang.Short",
            Self::Int => "java.lang.Integer",
            Self::Long => "java.lang.Long",
            Self::Float => "java.lang.Float",
            Self::Double => "java.lang.Double",
        }
    }

    /// Its name in Java: `int`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Boolean => "boolean",
            Self::Byte => "byte",
            Self::Char => "char",
            Self::Short => "short",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|primitive| primitive.name() == name)
    }

    /// The one of a letter, see [`Primitive::code`]. Nothing is of type void.
    #[must_use]
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().skip(1).find(|primitive| primitive.code().as_bytes() == [code])
    }
}

/// A type: what Java calls a class object, `int.class` as well as `String.class`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Type {
    /// A type that is no class.
    Primitive(Primitive),
    /// A class, an interface, or an array.
    Class(Arc<Class>),
}

impl Type {
    /// `boolean`.
    pub const BOOLEAN: Self = Self::Primitive(Primitive::Boolean);
    /// `byte`.
    pub const BYTE: Self = Self::Primitive(Primitive::Byte);
    /// `char`.
    pub const CHAR: Self = Self::Primitive(Primitive::Char);
    /// `short`.
    pub const SHORT: Self = Self::Primitive(Primitive::Short);
    /// `int`.
    pub const INT: Self = Self::Primitive(Primitive::Int);
    /// `long`.
    pub const LONG: Self = Self::Primitive(Primitive::Long);
    /// `float`.
    pub const FLOAT: Self = Self::Primitive(Primitive::Float);
    /// `double`.
    pub const DOUBLE: Self = Self::Primitive(Primitive::Double);

    /// The class of a name, see [`Class::named`].
    #[must_use]
    pub fn class(name: impl Into<Text>) -> Self {
        Self::Class(Arc::new(Class::named(name)))
    }

    /// `java.lang.String`.
    #[must_use]
    pub fn string() -> Self {
        Self::class("java.lang.String")
    }

    /// `byte[]`.
    #[must_use]
    pub fn bytes() -> Self {
        Self::class("[B")
    }

    /// Its name as Java's `Class.getName` gives it: `int`, `java.lang.String`, `[B`.
    #[must_use]
    pub fn name(&self) -> Text {
        match self {
            Self::Primitive(primitive) => primitive.name().into(),
            Self::Class(class) => class.name.clone(),
        }
    }
}
