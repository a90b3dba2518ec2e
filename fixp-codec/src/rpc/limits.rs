//! The bounds of reading and writing values (SPEC 12.41).

use super::{Cause, Error};

/// What a reader or writer takes at most. Passing one is an error of its own, before anything is allocated
/// for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the whole payload. Text and arrays of numbers cost at most twice what they take there.
    pub bytes: usize,
    /// How deep values stand in each other, a call or an answer being the first. Costs stack while reading,
    /// writing, comparing and dropping: up to 8 KiB a level where nothing is optimised.
    pub depth: usize,
    /// Values, classes, fields, and parts of objects, counted one by one. Costs some 100 bytes each.
    pub values: usize,
}

impl Limits {
    /// Default of [`Limits::bytes`], 64 MiB, as for the entity that carries the payload.
    pub const BYTES: usize = 64 << 20;
    /// Default of [`Limits::depth`]: no recorded value stands deeper than 62, and the real programs overflow
    /// their stack between 60 and 3000. Costs up to a megabyte of stack where nothing is optimised.
    pub const DEPTH: usize = 128;
    /// Default of [`Limits::values`], half a million: a list of a hundred thousand small objects.
    /// Costs up to 50 MiB.
    pub const VALUES: usize = 1 << 19;
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: Self::BYTES, depth: Self::DEPTH, values: Self::VALUES }
    }
}

/// What is left of the limits while one payload is read.
pub(crate) struct Budget {
    limits: Limits,
    depth: usize,
    values: usize,
    /// The number of the next anchor.
    pub(crate) anchor: u32,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, depth: 0, values: limits.values, anchor: 0 }
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes `n` values: to be asked before there is memory for them.
    pub(crate) fn values(&mut self, n: usize, offset: usize) -> Result<(), Error> {
        match self.values.checked_sub(n) {
            Some(left) => self.values = left,
            None => return Err(Error::new(Cause::ValuesLimit, offset).sizes(n, self.limits.values)),
        }
        Ok(())
    }

    /// One level deeper, until [`leave`](Self::leave).
    pub(crate) fn enter(&mut self, offset: usize) -> Result<(), Error> {
        self.depth += 1;
        depth(self.depth, &self.limits, offset)
    }

    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

/// Refuses what stands too deep.
pub(crate) fn depth(depth: usize, limits: &Limits, offset: usize) -> Result<(), Error> {
    if depth <= limits.depth {
        return Ok(());
    }
    Err(Error::new(Cause::DepthLimit, offset).sizes(depth, limits.depth))
}

/// Refuses what is too long.
pub(crate) fn bytes(bytes: usize, limits: &Limits, offset: usize) -> Result<(), Error> {
    if bytes <= limits.bytes {
        return Ok(());
    }
    Err(Error::new(Cause::BytesLimit, offset).sizes(bytes, limits.bytes))
}
