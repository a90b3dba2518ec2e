//! Proof that fixp-codec links without std and works without memory: a program whose allocator always
//! fails decodes, streams and encodes. Exits with 0 if all is as it should be, else with the number of
//! the check that failed. Run by `tests/no_std.rs` of fixp-codec.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_char, c_int};
use core::panic::PanicInfo;

use fixp_codec::{Decoder, Draft, Encoder, Event, LAXCUS6, Policy, ValueRef, laxcus6::notify};

/// Has nothing to give.
struct Empty;

// SAFETY: refusing every request is allowed.
unsafe impl GlobalAlloc for Empty {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static EMPTY: Empty = Empty;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// TEST with the text "TEST!", as recorded from Laxcus 6.0.
const WIRE: &[u8] = b"\x87\x00\x01\x05\x01\x02\x00\xe8\x03\x05\x30TEST!\xfc\x03\x01\x50\x00";

fn check() -> Result<(), c_int> {
    let decoder = Decoder::new(&LAXCUS6).with_policy(Policy::Strict);
    let packet = decoder.packet(WIRE).map_err(|_| 1)?;
    if packet.first(1000).and_then(|message| message.as_str()) != Some("TEST!") {
        return Err(2);
    }

    let mut stream = decoder.stream();
    let (mut input, mut ends) = (WIRE, 0);
    while let Some(event) = stream.next(&mut input) {
        ends += c_int::from(matches!(event.map_err(|_| 3)?, Event::End));
    }
    if ends != 1 {
        return Err(4);
    }

    let messages = [(1000, ValueRef::String("TEST!"))];
    let mut wire = [0; 64];
    let written = Encoder::new(&LAXCUS6)
        .packet_to_slice(&Draft::new(notify::TEST).with_messages(&messages), &mut wire)
        .map_err(|_| 5)?;
    if wire.get(..written) != Some(WIRE) {
        return Err(6);
    }
    Ok(())
}

// The C runtime: it starts the program and has memcpy.
#[link(name = "c")]
unsafe extern "C" {}

/// The precompiled `alloc` names it; with panic = "abort" nobody calls it.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// What the C runtime of the platform calls.
#[unsafe(no_mangle)]
pub extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    check().err().unwrap_or(0)
}
