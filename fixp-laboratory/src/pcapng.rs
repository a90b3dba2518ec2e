//! The three blocks of pcapng that a capture needs (draft-ietf-opsawg-pcapng), and nothing else.

use std::time::Duration;

/// Link type RAW: packets begin with their IPv4 or IPv6 header.
const LINKTYPE_RAW: u16 = 101;
const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const COMMENT: u16 = 1;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_RESOLUTION: u16 = 9;

/// Writes a capture: one section, one interface, times in nanoseconds.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// A capture without packets, and a comment on the whole.
    pub(crate) fn new(comment: &str) -> Self {
        let mut writer = Self(Vec::new());
        let mut body = Vec::new();
        body.extend(0x1A2B_3C4D_u32.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        // The length of the section is not known.
        body.extend((-1_i64).to_le_bytes());
        option(&mut body, COMMENT, comment.as_bytes());
        option(&mut body, SECTION_APPLICATION, b"fixp-laboratory");
        option(&mut body, 0, b"");
        writer.block(SECTION_HEADER, &body);

        let mut body = Vec::new();
        body.extend(LINKTYPE_RAW.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        // No packet is shortened.
        body.extend(0_u32.to_le_bytes());
        option(&mut body, INTERFACE_RESOLUTION, &[9]);
        option(&mut body, 0, b"");
        writer.block(INTERFACE_DESCRIPTION, &body);
        writer
    }

    /// Adds a packet from its IP header on, with a comment unless that is empty.
    pub(crate) fn packet(&mut self, time: Duration, packet: &[u8], comment: &str) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let mut body = Vec::with_capacity(packet.len() + 64);
        body.extend(0_u32.to_le_bytes());
        body.extend(((nanos >> 32) as u32).to_le_bytes());
        body.extend((nanos as u32).to_le_bytes());
        body.extend(len.to_le_bytes());
        body.extend(len.to_le_bytes());
        body.extend(packet);
        pad(&mut body);
        if !comment.is_empty() {
            option(&mut body, COMMENT, comment.as_bytes());
            option(&mut body, 0, b"");
        }
        self.block(ENHANCED_PACKET, &body);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let len = (body.len() as u32 + 12).to_le_bytes();
        self.0.extend(kind.to_le_bytes());
        self.0.extend(len);
        self.0.extend(body);
        self.0.extend(len);
    }
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// Everything in a block begins at a multiple of four.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
