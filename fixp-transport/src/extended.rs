//! A packet's head as it leaves: with what the transport adds to it, and for an entity that somebody else writes.

use fixp_codec::{Code, Packet, Source, ValueRef};

/// The messages of a packet that are kept, more behind them, and CONTENT_LENGTH at the end whatever it had.
pub(crate) struct Extended<'a, K> {
    pub(crate) packet: &'a Packet,
    /// Which keys of its own it keeps; CONTENT_LENGTH must not be among them.
    pub(crate) keeps: K,
    pub(crate) extra: &'a [(u16, ValueRef<'a>)],
    /// The length of the entity.
    pub(crate) len: usize,
}

impl<K: Fn(u16) -> bool> Source for Extended<'_, K> {
    fn code(&self) -> Code {
        self.packet.code
    }

    fn version(&self) -> u16 {
        self.packet.version
    }

    fn messages(&self) -> impl Iterator<Item = (u16, ValueRef<'_>)> {
        self.packet.messages().filter(|(key, _)| (self.keeps)(*key)).chain(self.extra.iter().copied())
    }

    fn entity(&self) -> &[u8] {
        &[]
    }

    fn entity_len(&self) -> usize {
        self.len
    }
}
