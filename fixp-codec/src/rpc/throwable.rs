//! Throwables, read as text and written in the minimal form (SPEC 12.40).
//!
//! ```
//! use fixp_codec::rpc::{Reply, Throwable};
//!
//! let inner = Throwable::new("java.lang.IllegalStateException", "boom");
//! let outer = Throwable::invocation_target(inner);
//! let reply = Reply::threw(&outer);
//! let read = Throwable::of(reply.throwable.as_ref().unwrap()).unwrap();
//! assert_eq!(read, outer);
//! assert_eq!(
//!     read.to_string(),
//!     "java.lang.reflect.InvocationTargetException\n\
//!      Caused by: java.lang.IllegalStateException: boom"
//! );
//! ```

use core::fmt;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Class, Object, Part, Text, Value, flag};

/// What is thrown: a Java exception or error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Throwable {
    /// The name of its class.
    pub class: Text,
    /// Its message.
    pub message: Option<Text>,
    /// What caused it; of an InvocationTargetException, what the method threw.
    pub cause: Option<Box<Self>>,
    /// Where it was thrown, the innermost place first: `demo.Echo.fail(Echo.java:7)`. Not written.
    pub trace: Vec<Text>,
}

const INVOCATION_TARGET: &str = "java.lang.reflect.InvocationTargetException";
const RUNTIME: &str = "java.lang.RuntimeException";
const THROWABLE: &str = "java.lang.Throwable";

impl Throwable {
    /// A throwable of this class with a message.
    #[must_use]
    pub fn new(class: impl Into<Text>, message: impl Into<Text>) -> Self {
        Self { class: class.into(), message: Some(message.into()), cause: None, trace: Vec::new() }
    }

    /// What the real servers answer when a method throws: an InvocationTargetException of it.
    #[must_use]
    pub fn invocation_target(thrown: Self) -> Self {
        Self {
            class: INVOCATION_TARGET.into(),
            message: None,
            cause: Some(Box::new(thrown)),
            trace: Vec::new(),
        }
    }

    /// Whether a value is a throwable, without reading it.
    #[must_use]
    pub fn is(value: &Value) -> bool {
        matches!(value.unanchored(), Value::Object(object) if object.class.is(THROWABLE))
    }

    /// The throwable that a value is, if it is one: an object whose class extends `java.lang.Throwable`.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        let Value::Object(object) = value.unanchored() else {
            return None;
        };
        if !Self::is(value) {
            return None;
        }
        // A throwable without a cause names itself as its cause.
        let cause =
            object.field("target").and_then(Self::of).or_else(|| object.field("cause").and_then(Self::of));
        Some(Self {
            class: object.class.name.clone(),
            message: text(object.field("detailMessage")),
            cause: cause.map(Box::new),
            trace: object.field("stackTrace").map(trace).unwrap_or_default(),
        })
    }

    /// The value in the minimal form: class, message and cause. A class that no recording shows cannot be
    /// described, so it is written as a `java.lang.RuntimeException` with its name before the message.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let known = self.class.as_str().filter(|class| known(class).is_some());
        let message = match (known, &self.message) {
            (Some(_), message) => message.clone(),
            (None, Some(message)) => Some(Text::from(format!("{}: {message}", self.class))),
            (None, None) => Some(self.class.clone()),
        };
        let name = known.unwrap_or(RUNTIME);
        let cause = self.cause.as_deref().map(Self::to_value);
        let class = class(name, cause.is_some() && name != INVOCATION_TARGET);
        let chain: Vec<&Class> = class.chain().collect();
        let parts = chain.iter().rev().map(|class| {
            let fields = class.fields.iter().map(|field| match field.name.as_str() {
                Some("detailMessage") => Value::from(message.clone()),
                _ => Value::from(cause.clone()),
            });
            Part { fields: fields.collect(), annotation: Vec::new() }
        });
        let parts = parts.collect();
        Value::Object(Box::new(Object { class: Arc::new(class), parts }))
    }
}

/// As Java prints it.
impl fmt::Display for Throwable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next = Some(self);
        while let Some(throwable) = next {
            write!(f, "{}", throwable.class)?;
            if let Some(message) = &throwable.message {
                write!(f, ": {message}")?;
            }
            for place in &throwable.trace {
                write!(f, "\n\tat {place}")?;
            }
            next = throwable.cause.as_deref();
            if next.is_some() {
                f.write_str("\nCaused by: ")?;
            }
        }
        Ok(())
    }
}

fn text(value: Option<&Value>) -> Option<Text> {
    match value?.unanchored() {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// How many elements of a stack trace are read: where Java stops by itself.
const PLACES: usize = 1024;

/// How much text they may have, the last not counted. The names of a stream can be referred to by any number of
/// elements, each of which is written out here.
const TRACE: usize = 64 << 10;

/// The elements of a stack trace, as Java prints them (SPEC 12.40).
fn trace(value: &Value) -> Vec<Text> {
    let Value::Array(array) = value.unanchored() else {
        return Vec::new();
    };
    let mut length = 0;
    let places = array.items.iter().take(PLACES).filter_map(|item| match item.unanchored() {
        Value::Object(object) => Some(place(object)),
        _ => None,
    });
    let places = places.map_while(|place| {
        let fits = length <= TRACE;
        length += place.len();
        fits.then(|| Text::from(place))
    });
    places.collect()
}

fn place(element: &Object) -> String {
    let part = |name| text(element.field(name));
    let class = part("declaringClass").unwrap_or_else(|| "?".into());
    let method = part("methodName").unwrap_or_else(|| "?".into());
    let line = match element.field("lineNumber") {
        Some(Value::Int(line)) => *line,
        _ => -1,
    };
    match (part("fileName"), line) {
        (_, -2) => format!("{class}.{method}(Native Method)"),
        (None, _) => format!("{class}.{method}(Unknown Source)"),
        (Some(file), 0..) => format!("{class}.{method}({file}:{line})"),
        (Some(file), _) => format!("{class}.{method}({file})"),
    }
}

/// Classes that the recordings show, their numbers, and what they extend.
const KNOWN: [(&str, u64, &str); 21] = [
    (THROWABLE, 0xd5c6_3527_3977_b8cb, ""),
    ("java.lang.Exception", 0xd0fd_1f3e_1a3b_1cc4, THROWABLE),
    ("java.lang.Error", 0x451d_3656_8b82_0e56, THROWABLE),
    ("java.lang.VirtualMachineError", 0x39c2_5654_802f_0e1e, "java.lang.Error"),
    ("java.lang.OutOfMemoryError", 0x7231_bb70_8888_e315, "java.lang.VirtualMachineError"),
    ("java.lang.StackOverflowError", 0x7779_ef15_877b_2377, "java.lang.VirtualMachineError"),
    (RUNTIME, 0x9e5f_0647_0a34_83e5, "java.lang.Exception"),
    ("java.lang.IllegalStateException", 0xe657_55e6_9a46_f248, RUNTIME),
    ("java.lang.IllegalArgumentException", 0xb589_73d3_7d66_8fbc, RUNTIME),
    ("java.lang.NullPointerException", 0x47a5_a18e_ff31_e1b8, RUNTIME),
    ("java.lang.UnsupportedOperationException", 0xeec1_65e7_1283_8b7f, RUNTIME),
    ("java.lang.IndexOutOfBoundsException", 0x033f_c59f_dab4_2b27, RUNTIME),
    (
        "java.lang.ArrayIndexOutOfBoundsException",
        0xb8ff_f521_577e_a444,
        "java.lang.IndexOutOfBoundsException",
    ),
    ("java.io.IOException", 0x6c80_7364_6525_f0ab, "java.lang.Exception"),
    ("java.io.EOFException", 0x5949_a7f7_6b53_ec41, "java.io.IOException"),
    ("com.lexst.visit.VisitException", 0x7ad5_2861_90f0_d0f3, "java.io.IOException"),
    ("com.laxcus.visit.VisitException", 0xc24d_ffd2_b4aa_0676, "java.io.IOException"),
    ("java.lang.ReflectiveOperationException", 0x0000_0000_075b_cd15, "java.lang.Exception"),
    ("java.lang.ClassNotFoundException", 0x7f5a_cd66_3ed4_208e, "java.lang.ReflectiveOperationException"),
    ("java.lang.NoSuchMethodException", 0x45dd_bd9e_5ec6_05db, "java.lang.ReflectiveOperationException"),
    (INVOCATION_TARGET, 0x38b1_268e_d671_246f, "java.lang.ReflectiveOperationException"),
];

fn known(name: &str) -> Option<&'static (&'static str, u64, &'static str)> {
    KNOWN.iter().find(|known| known.0 == name)
}

/// The class of a name of the table, down from Throwable, which has a cause or not.
fn class(name: &str, cause: bool) -> Class {
    let &(name, suid, parent) = known(name).unwrap_or(&KNOWN[0]);
    let class = Class::new(name, suid.cast_signed(), flag::SERIALIZABLE);
    match name {
        THROWABLE if cause => {
            class.with("cause", "Ljava/lang/Throwable;").with("detailMessage", "Ljava/lang/String;")
        }
        THROWABLE => class.with("detailMessage", "Ljava/lang/String;"),
        INVOCATION_TARGET => {
            class.with("target", "Ljava/lang/Throwable;").extending(self::class(parent, cause))
        }
        _ => class.extending(self::class(parent, cause)),
    }
}
