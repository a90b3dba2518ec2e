//! Remote calls of the two programs: the entities of a call and of its answer, without I/O (SPEC 12).
//!
//! Both forms carry Java values; [`Value`] models them once. `lexst1` is Java object serialization
//! (feature `rpc-lexst1`), `laxcus6` a tagged form (feature `rpc-laxcus6`). Whatever bytes come, there is a
//! value or an [`Error`] with an offset: depth, number and size are bounded by [`Limits`] before anything is
//! allocated for them, and no class is ever loaded. What is not known is kept as named fields.
//!
//! ```
//! use fixp_codec::rpc::{Call, Type, Value};
//!
//! let call = Call::new("demo.EchoVisit", "add")
//!     .with(Type::INT, Value::Int(2))
//!     .with(Type::INT, Value::Int(40));
//! assert_eq!(call.params.as_ref().map(Vec::len), Some(2));
//! ```

use alloc::vec::Vec;

mod class;
mod error;
pub mod java;
#[cfg(feature = "rpc-laxcus6")]
pub mod laxcus6;
#[cfg(feature = "rpc-lexst1")]
pub mod lexst1;
mod limits;
mod text;
mod throwable;
mod value;

pub use class::{Class, Field, Primitive, Type, flag};
pub use error::{Cause, Error};
pub use limits::Limits;
pub use text::Text;
pub use throwable::Throwable;
pub use value::{Array, Classable, Content, Enum, Object, Part, Value};

/// A call: what to call, and with what.
///
/// Nothing stands for Java's null: both programs use calls without names as a container of values, and a
/// call without arguments has no parameters rather than an empty list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Call {
    /// The name of the Java interface.
    pub interface: Option<Text>,
    /// The name of the method.
    pub method: Option<Text>,
    /// The declared types, by which the real servers choose among methods of one name. A type that cannot
    /// be told is nothing.
    pub types: Option<Vec<Option<Type>>>,
    /// The arguments.
    pub params: Option<Vec<Value>>,
}

impl Call {
    /// A call without arguments, as the real programs' stubs make it: no types, and null parameters.
    #[must_use]
    pub fn new(interface: impl Into<Text>, method: impl Into<Text>) -> Self {
        Self {
            interface: Some(interface.into()),
            method: Some(method.into()),
            types: Some(Vec::new()),
            params: None,
        }
    }

    /// The same call with one more argument.
    #[must_use]
    pub fn with(mut self, ty: Type, value: impl Into<Value>) -> Self {
        self.types.get_or_insert_default().push(Some(ty));
        self.params.get_or_insert_default().push(value.into());
        self
    }
}

/// An answer: what the method returned, or what it threw. Nothing in either place is Java's null; a
/// method that returns nothing answers with nothing in both.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reply {
    /// What the method returned.
    pub object: Option<Value>,
    /// What it threw: see [`Throwable::of`].
    pub throwable: Option<Value>,
}

impl Reply {
    /// An answer with a result. [`Value::Null`] is none.
    #[must_use]
    pub fn returned(value: impl Into<Value>) -> Self {
        let value = value.into();
        Self { object: (value != Value::Null).then_some(value), throwable: None }
    }

    /// An answer with what was thrown, in the minimal form that both programs read.
    #[must_use]
    pub fn threw(throwable: &Throwable) -> Self {
        Self { object: None, throwable: Some(throwable.to_value()) }
    }
}
