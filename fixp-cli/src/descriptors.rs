//! Descriptors: every socket is one, and most systems let a process have 1024 until it asks for more.

/// Those that are no peer's: the standard streams, the runtime's, files that are read.
const OWN: u64 = 64;

/// Asks the system for as many as so many sockets need, and tells how many sockets there may be.
pub(crate) fn room_for(sockets: usize) -> usize {
    let needed = OWN.saturating_add(sockets as u64);
    // Where the system does not even say, it says so when a socket is wanted.
    let limit = rlimit::increase_nofile_limit(needed).unwrap_or(needed);
    usize::try_from(limit.saturating_sub(OWN)).unwrap_or(usize::MAX)
}
