//! What must hold for any bytes: the entry points of the fuzz targets, of proptest and of the replay of
//! the committed corpora. Each reads the bytes as a script of what happens to one of the state machines, and
//! panics where its property fails. Not covered by semver.

mod connection;
mod keep_requester;
mod keep_responder;
mod keep_wire;
mod ledger;
mod ordered;
mod own;
mod script;
mod session;
mod sink;
mod wire;

pub use connection::connection;
pub use keep_requester::keep_requester;
pub use keep_responder::keep_responder;
pub use ledger::ledger;
pub use ordered::ordered;
pub use own::own;
pub use session::session;

/// A property of any bytes.
pub type Property = fn(&[u8]);

/// The fuzz targets, by their names in `fuzz/`, and what each checks.
pub const TARGETS: [(&str, Property); 7] = [
    ("transport_connection", connection),
    ("transport_ordered", ordered),
    ("transport_ledger", ledger),
    ("transport_session", session),
    ("transport_keep_requester", keep_requester),
    ("transport_keep_responder", keep_responder),
    ("transport_own", own),
];
