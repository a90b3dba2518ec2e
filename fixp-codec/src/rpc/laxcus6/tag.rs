//! The tags of values (SPEC 12.14).

pub(super) const NULL: u8 = 1;
pub(super) const BYTES: u8 = 10;
pub(super) const BOOLEANS: u8 = 11;
pub(super) const CHARS: u8 = 12;
pub(super) const SHORTS: u8 = 13;
pub(super) const INTS: u8 = 14;
pub(super) const LONGS: u8 = 15;
pub(super) const FLOATS: u8 = 16;
pub(super) const DOUBLES: u8 = 17;
pub(super) const OBJECTS: u8 = 18;
pub(super) const BYTE: u8 = 20;
pub(super) const BOOLEAN: u8 = 21;
pub(super) const CHAR: u8 = 22;
pub(super) const SHORT: u8 = 23;
pub(super) const INT: u8 = 24;
pub(super) const LONG: u8 = 25;
pub(super) const FLOAT: u8 = 26;
pub(super) const DOUBLE: u8 = 27;
pub(super) const STRING: u8 = 28;
pub(super) const VOID_CLASS: u8 = 29;
pub(super) const CLASSABLE: u8 = 30;
pub(super) const JAVA: u8 = 40;
/// The first of the classes that are primitive, in the order of [`Primitive::ALL`](crate::rpc::Primitive).
pub(super) const PRIMITIVE: u8 = 101;
