//! The bounds of reading and writing values.

/// What a reader or writer takes at most. Passing one is an error of its own, before anything is allocated
/// for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the whole payload. Text and arrays of numbers cost at most twice what they take there.
    pub bytes: usize,
    /// How deep values stand in each other, a call or an answer being the first. Costs stack while reading,
    /// writing, comparing and dropping: some 2 KiB a level where nothing is optimised.
    pub depth: usize,
    /// Values, fields, and parts of objects, counted one by one. Costs up to 80 bytes each.
    pub values: usize,
}

impl Limits {
    /// Default of [`Limits::bytes`], 64 MiB, as for the entity that carries the payload.
    pub const BYTES: usize = 64 << 20;
    /// Default of [`Limits::depth`]: no recorded value stands deeper than 62, and the real programs overflow
    /// their stack between 60 and 3000. Costs a quarter of a megabyte of stack.
    pub const DEPTH: usize = 128;
    /// Default of [`Limits::values`], about a million: a list of a quarter of a million small objects.
    /// Costs up to 80 MiB.
    pub const VALUES: usize = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: Self::BYTES, depth: Self::DEPTH, values: Self::VALUES }
    }
}
