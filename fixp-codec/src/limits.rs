//! The bounds of a reader (SPEC 7.5).
//!
//! ```
//! use fixp_codec::{Decoder, ErrorKind, LAXCUS6, Limits};
//!
//! let small = Limits { messages: 1, ..Limits::default() };
//! let wire = [0x87, 0x00, 0x01, 0x05, 0x01, 0x02, 0x00];
//! let error = Decoder::new(&LAXCUS6).with_limits(small).packet(&wire).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Limit);
//! assert_eq!((error.needed(), error.had()), (2, 1));
//! ```

/// What a reader takes at most. Passing one is an error of its own, before anything is allocated for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Messages of a packet. Costs no memory by itself: a message is read where it stands.
    pub messages: usize,
    /// Bytes of command and messages. A [`StreamDecoder`](crate::StreamDecoder) keeps at most so many, in a
    /// buffer that grows by doubling, but not beyond that.
    pub head: usize,
    /// Bytes of the entity. The decoders never hold one: this bounds what their callers gather.
    pub entity: usize,
    /// Bytes a compressed value inflates to. Decoding never inflates: this is for those who do, to pass to
    /// [`DeflatedRef`](crate::DeflatedRef)`::inflate`, which holds to the bound it is given.
    pub inflated: usize,
}

impl Limits {
    /// Default of [`Limits::messages`]: as many as the wire can say. The head's limit bounds them too.
    pub const MESSAGES: usize = 65535;
    /// Default of [`Limits::head`], 1 MiB: room for the 32767 messages the programs can read,
    /// 28 bytes each. Costs up to 1 MiB a stream while a head comes in pieces, 4 KiB between packets.
    pub const HEAD: usize = 1 << 20;
    /// Default of [`Limits::entity`], 64 MiB: the size of a Laxcus data chunk.
    /// Costs up to 64 MiB a packet where the caller gathers it, nothing where it is handed on in pieces.
    pub const ENTITY: usize = 64 << 20;
    /// Default of [`Limits::inflated`], 1 MiB: a value of 4095 bytes could inflate to some 4 MiB of zeros,
    /// honest text to far less. Costs up to 1 MiB for each content that is kept.
    pub const INFLATED: usize = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self { messages: Self::MESSAGES, head: Self::HEAD, entity: Self::ENTITY, inflated: Self::INFLATED }
    }
}
