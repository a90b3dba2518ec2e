//! How often the process asks for memory.
#![allow(
    unsafe_code,
    reason = "an allocator cannot be written without; it hands every call on to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The allocator of the system. While it is told to, it counts the calls that ask for memory, and what they ask for.
#[derive(Debug)]
pub struct Counting {
    on: AtomicBool,
    calls: AtomicU64,
    bytes: AtomicU64,
}

/// Calls that asked for memory, and the bytes they asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// Calls.
    pub calls: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Counting {
    /// One that does not count yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { on: AtomicBool::new(false), calls: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Counts from here on, from nothing.
    pub fn start(&self) {
        self.calls.store(0, Relaxed);
        self.bytes.store(0, Relaxed);
        self.on.store(true, Relaxed);
    }

    /// What was counted. It counts no more.
    pub fn stop(&self) -> Count {
        self.on.store(false, Relaxed);
        Count { calls: self.calls.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }

    fn count(&self, bytes: usize) {
        if self.on.load(Relaxed) {
            self.calls.fetch_add(1, Relaxed);
            self.bytes.fetch_add(bytes as u64, Relaxed);
        }
    }
}

impl Default for Counting {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every method hands its arguments on to `System`, whose contract is the same, and counts beside it
// without allocating.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size());
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size());
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.count(size);
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.realloc(block, layout, size) }
    }
}
