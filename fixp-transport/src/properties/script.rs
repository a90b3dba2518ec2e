//! The bytes of a fuzzer as a script: read from the front, zeros behind its end.

/// What is left of a script.
pub(super) struct Script<'s>(&'s [u8]);

impl<'s> Script<'s> {
    pub(super) const fn new(bytes: &'s [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// A number below this one.
    pub(super) fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Two bytes, the low one first.
    pub(super) fn word(&mut self) -> u16 {
        u16::from(self.byte()) | u16::from(self.byte()) << 8
    }

    /// So many bytes, or what is left.
    pub(super) fn take(&mut self, count: usize) -> &'s [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
