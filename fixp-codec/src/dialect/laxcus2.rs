//! laxcus2, the dialect of the Laxcus 2.0 book, whose program is not public (SPEC 6.1).
//!
//! The book lists the ten types and gives no codes: the codes of the eight are those of laxcus6, the
//! two compressed ones have the next two, which is this project's assignment (SPEC 3.2). It has no
//! names of commands or keys but CONTENT_LENGTH.
//!
//! ```
//! use fixp_codec::{Code, LAXCUS2, Type};
//!
//! assert_eq!(LAXCUS2.code_of(Type::ZString), Some(10));
//! assert!(LAXCUS2.reads(Code::Answer(65535)));
//! ```

use super::table::keys;
use super::{BuiltIn, Dialect};
use crate::Type;

/// The book's dialect: major command first, CONTENT_LENGTH 1020, all ten types, any command.
pub const LAXCUS2: Dialect = Dialect::empty("laxcus2")
    .with_type(1, Type::Raw)
    .with_type(2, Type::Boolean)
    .with_type(3, Type::String)
    .with_type(4, Type::Int16)
    .with_type(5, Type::Int32)
    .with_type(6, Type::Int64)
    .with_type(7, Type::Float32)
    .with_type(8, Type::Float64)
    .with_type(9, Type::ZRaw)
    .with_type(10, Type::ZString)
    .with_content_length_key(key::CONTENT_LENGTH)
    .with_keys(KEYS)
    .folded(BuiltIn::Laxcus2);

keys! { 1020 CONTENT_LENGTH Int32 }
