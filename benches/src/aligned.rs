//! Bytes at the start of a cache line: where `memcpy` is fastest, so that the limit is the limit and not
//! an accident of the allocator. (The codecs read and write where the allocator puts their buffers.)

/// A cache line.
const LINE: usize = 64;

/// A copy of some bytes, aligned.
#[derive(Clone, Debug)]
pub struct Aligned {
    room: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// A copy of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let room = vec![0; bytes.len() + LINE];
        let start = room.as_ptr().align_offset(LINE).min(LINE);
        let mut aligned = Self { room, start, len: bytes.len() };
        aligned.bytes_mut().copy_from_slice(bytes);
        aligned
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.room[self.start..][..self.len]
    }

    /// The bytes, to be written over.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..][..self.len]
    }
}
