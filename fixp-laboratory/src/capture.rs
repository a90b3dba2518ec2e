//! What has travelled, kept in a ring, and given out as a capture file.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::headers;
use crate::pcapng::Writer;
use crate::segment::Parcel;

/// What is kept by default.
pub(crate) const LIMIT: usize = 16 << 20;
/// What a record counts besides its content.
const RECORD: usize = size_of::<Record>() + 64;

/// What was said about a packet: nothing, or what happened to it.
pub(crate) type Note = Cow<'static, str>;

#[derive(Debug)]
struct Record {
    time: Duration,
    from: SocketAddr,
    to: SocketAddr,
    parcel: Parcel,
    note: Note,
}

/// The last of what has travelled, dropped packets too, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Capture {
    seed: u64,
    limit: usize,
    bytes: usize,
    records: VecDeque<Record>,
    forgotten: u64,
}

impl Capture {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, limit: LIMIT, bytes: 0, records: VecDeque::new(), forgotten: 0 }
    }

    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
        self.forget();
    }

    pub(crate) fn record(
        &mut self,
        time: Duration,
        from: SocketAddr,
        to: SocketAddr,
        parcel: Parcel,
        note: impl Into<Note>,
    ) {
        self.bytes += parcel.content().len() + RECORD;
        self.records.push_back(Record { time, from, to, parcel, note: note.into() });
        self.forget();
    }

    pub(crate) fn pcapng(&self) -> Vec<u8> {
        let mut comment = format!("seed {}", self.seed);
        if self.forgotten > 0 {
            comment = format!("{comment}, {} earlier packets forgotten", self.forgotten);
        }
        let mut writer = Writer::new(&comment);
        for record in &self.records {
            let packet = headers::packet(record.from, record.to, &record.parcel);
            writer.packet(record.time, &packet, &record.note);
        }
        writer.finish()
    }

    fn forget(&mut self) {
        while self.bytes > self.limit
            && let Some(record) = self.records.pop_front()
        {
            self.bytes -= record.parcel.content().len() + RECORD;
            self.forgotten += 1;
        }
    }
}
