//! What an interface is made of, as data: what [`service`](macro@crate::service) makes of a trait, and what a
//! server tells of itself.
//!
//! ```
//! #[fixp_rpc::service]
//! trait Clock {
//!     /// The time, in milliseconds.
//!     #[idempotent]
//!     async fn now(&self) -> u64;
//! }
//!
//! let now = &ClockClient::INTERFACE.methods[0];
//! assert_eq!((now.path, now.idempotent), ("Clock.now", true));
//! ```

use serde::Serialize;

/// An interface.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
pub struct Interface {
    /// Its name on the wire.
    pub name: &'static str,
    /// What its author says of it.
    pub docs: &'static str,
    /// Its methods.
    pub methods: &'static [Method],
}

/// A method of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Interface and method, with a point between: what a call names.
    #[serde(skip)]
    pub path: &'static str,
    /// What its author says of it.
    pub docs: &'static str,
    /// Its arguments, in their order.
    pub arguments: &'static [Argument],
    /// The type of its result, as its author writes it.
    pub returns: &'static str,
    /// The type of its own error, `Never` for none.
    pub fails: &'static str,
    /// Whether calling it twice does no more than calling it once.
    pub idempotent: bool,
    /// Whether its caller does not wait for the result.
    pub one_way: bool,
}

/// An argument of a method.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
pub struct Argument {
    /// Its name, by which JSON and CBOR have it.
    pub name: &'static str,
    /// Its type, as its author writes it.
    pub ty: &'static str,
}
