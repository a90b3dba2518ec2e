//! Writes the packets of the own transport: OPEN, OPENED, SEGMENT and CLOSE (SPEC 10.11 to 10.17).

use std::time::Duration;

use bytes::BufMut;
use fixp_codec::{
    Code, Command, Dialect, Draft, Encoder, LAXCUS6, MAX_VALUE, Type, VERSION, ValueRef, number,
};

use super::acknowledged;
use super::ranges::Ranges;
use super::varint;
use super::wire::{BUFFER, COMMAND, Chunk, Hello, MESSAGE, Reset, Window};
use crate::extension::{self, CLOSE, OPEN, OPENED, Refusal, SEGMENT, key};

/// A packet that is being written: messages first, then [`Sheet::finish`].
///
/// They stand on it as they go on the wire. It is used again for the next packet, so that nothing is allocated for one.
#[derive(Debug)]
pub(super) struct Sheet {
    dialect: &'static Dialect,
    code: Code,
    /// Room for the command, and the messages.
    bytes: Vec<u8>,
    count: u16,
    entity: usize,
    /// What the dialect cannot say.
    error: Option<fixp_codec::Error>,
}

impl Sheet {
    pub(super) const fn new() -> Self {
        Self { dialect: &LAXCUS6, code: SEGMENT, bytes: Vec::new(), count: 0, entity: 0, error: None }
    }

    /// Begins a packet in a dialect with our own commands.
    fn begin(&mut self, dialect: &'static Dialect, code: Code) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; COMMAND]);
        (self.dialect, self.code, self.count, self.entity, self.error) = (dialect, code, 0, 0, None);
    }

    /// Puts a message, whose value is written by this.
    #[inline]
    fn put(&mut self, key: u16, ty: Type, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(code) = self.dialect.code_of(ty) else { return self.refuse(key, ty) };
        let start = self.bytes.len();
        let [low, high] = key.to_le_bytes();
        self.bytes.extend_from_slice(&[low, high, 0, 0]);
        write(&mut self.bytes);
        let length = self.bytes.len() - start - MESSAGE;
        if length > MAX_VALUE {
            return self.refuse_long(key, start + MESSAGE);
        }
        let field = u16::from(code) << 12 | length as u16 & 0xfff;
        if let Some(place) = self.bytes.get_mut(start + 2..start + MESSAGE) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        self.count += 1;
    }

    #[cold]
    fn refuse(&mut self, key: u16, ty: Type) {
        let value = match ty {
            Type::Int64 => ValueRef::Int64(0),
            Type::Int32 => ValueRef::Int32(0),
            Type::Int16 => ValueRef::Int16(0),
            _ => ValueRef::Raw(&[0]),
        };
        self.error = self.refusal(key, value);
    }

    /// None of ours comes near it: 32 ranges have 650 bytes.
    #[cold]
    fn refuse_long(&mut self, key: u16, start: usize) {
        self.error = self.refusal(key, ValueRef::Raw(self.bytes.get(start..).unwrap_or_default()));
    }

    /// Why the codec does not write this.
    fn refusal(&self, key: u16, value: ValueRef<'_>) -> Option<fixp_codec::Error> {
        let messages = [(key, value)];
        Encoder::new(self.dialect).head_len(&Draft::new(self.code).with_messages(&messages)).err()
    }

    fn raw(&mut self, key: u16, write: impl FnOnce(&mut Vec<u8>)) {
        self.put(key, Type::Raw, write);
    }

    fn number(&mut self, key: u16, ty: Type, bits: u64) {
        let bytes = bits.to_le_bytes();
        let (bytes, _) = bytes.split_at(number::shortest(bits));
        self.put(key, ty, |out| out.extend_from_slice(bytes));
    }

    fn raw8(&mut self, key: u16, number: u64) {
        self.raw(key, |out| out.extend_from_slice(&number.to_le_bytes()));
    }

    /// Begins a SEGMENT, in a dialect with our own commands.
    pub(super) fn segment(&mut self, dialect: &'static Dialect, association: u64, number: u64) {
        self.begin(dialect, SEGMENT);
        self.raw8(key::ASSOCIATION, association);
        self.number(key::NUMBER, Type::Int64, number);
    }

    pub(super) fn acknowledged(&mut self, come: &Ranges, delay: Duration, most: usize) {
        self.raw(key::ACKNOWLEDGED, |out| acknowledged::write(come, delay, most, out));
    }

    pub(super) fn window(&mut self, window: Window) {
        self.raw(key::WINDOW, |out| window.write(out));
    }

    pub(super) fn reset(&mut self, reset: Reset) {
        self.raw(key::RESET, |out| {
            varint::write(reset.exchange, out);
            varint::write(u64::from(reset.answer), out);
            varint::write(reset.reason, out);
            varint::write(reset.sent, out);
        });
    }

    /// Puts a chunk; its bytes are to stand in the entity, in the order of the chunks.
    pub(super) fn chunk(&mut self, chunk: Chunk) {
        self.raw(key::CHUNK, |out| {
            varint::write(chunk.exchange, out);
            varint::write(chunk.flags(), out);
            varint::write(chunk.offset, out);
            varint::write(chunk.len as u64, out);
        });
        self.entity += chunk.len;
    }

    /// Puts bytes at the end of the entity that no chunk describes.
    pub(super) const fn pad(&mut self, bytes: usize) {
        self.entity += bytes;
    }

    /// The bytes of the packet as it stands.
    pub(super) fn wire_len(&self) -> usize {
        self.bytes.len() + MESSAGE + number::shortest(self.entity as u64) + self.entity
    }

    /// How long a chunk with this place can be in a packet of so many bytes.
    pub(super) fn room(&self, exchange: u64, offset: u64, most: usize, limit: usize) -> usize {
        let beside = self.bytes.len() + Chunk::wire_len(exchange, offset, 0) + MESSAGE + 1 + self.entity;
        let Some(room) = limit.checked_sub(beside) else { return 0 };
        let mut len = if room < most { room } else { most };
        // Its length and that of the entity may need more bytes than the one that was counted for each.
        loop {
            let more = varint::length(len as u64) + number::shortest((self.entity + len) as u64) - 2;
            if len + more <= room {
                return len;
            }
            let Some(less) = len.checked_sub(len + more - room) else { return 0 };
            len = less;
        }
    }

    /// How many bytes of padding make the packet exactly so long, where any do.
    pub(super) fn padding(&self, limit: usize) -> Option<usize> {
        let mut width = 1;
        while width <= 4 {
            if let Some(entity) = limit.checked_sub(self.bytes.len() + MESSAGE + width)
                && number::shortest(entity as u64) == width
            {
                return entity.checked_sub(self.entity);
            }
            width += 1;
        }
        None
    }

    /// Writes all but the entity, and tells how many bytes that were.
    pub(super) fn finish(&mut self, out: &mut impl BufMut) -> Result<usize, fixp_codec::Error> {
        self.number(self.dialect.content_length_key(), Type::Int32, self.entity as u64);
        if let Some(error) = self.error {
            return Err(error);
        }
        let command = Command { code: self.code, version: VERSION, message_count: self.count };
        let mut place = self.bytes.get_mut(..COMMAND).unwrap_or_default();
        Encoder::new(self.dialect).command(&command, &mut place)?;
        out.put_slice(&self.bytes);
        Ok(self.bytes.len())
    }

    fn hello(&mut self, hello: Hello, server: bool) {
        self.raw8(key::SENDER, hello.number);
        if hello.buffer != BUFFER {
            let buffer = i32::try_from(hello.buffer).unwrap_or(i32::MAX);
            self.number(key::BUFFER, Type::Int32, buffer.cast_unsigned().into());
        }
        for window in hello.grants.unusual(server) {
            self.window(window);
        }
    }
}

/// Writes packets that have no entity. They stand on a sheet, which is used again.
impl Sheet {
    pub(super) fn open(
        &mut self,
        dialect: &'static Dialect,
        hello: Hello,
    ) -> Result<Vec<u8>, fixp_codec::Error> {
        self.begin(extension::own(dialect), OPEN);
        self.hello(hello, false);
        self.written()
    }

    pub(super) fn opened(
        &mut self,
        dialect: &'static Dialect,
        association: u64,
        hello: Hello,
    ) -> Result<Vec<u8>, fixp_codec::Error> {
        self.begin(extension::own(dialect), OPENED);
        self.raw8(key::ASSOCIATION, association);
        self.hello(hello, true);
        self.written()
    }

    /// To a peer, by its own number.
    pub(super) fn close(
        &mut self,
        dialect: &'static Dialect,
        association: u64,
    ) -> Result<Vec<u8>, fixp_codec::Error> {
        self.begin(extension::own(dialect), CLOSE);
        self.raw8(key::ASSOCIATION, association);
        self.written()
    }

    /// To somebody who named a number that is not known here, perhaps with the word that nothing was executed.
    pub(super) fn unknown(
        &mut self,
        dialect: &'static Dialect,
        sender: u64,
        unbegun: bool,
    ) -> Result<Vec<u8>, fixp_codec::Error> {
        self.begin(extension::own(dialect), CLOSE);
        self.raw8(key::SENDER, sender);
        if unbegun {
            let refusal = Refusal::Overloaded.number();
            self.number(key::REFUSAL, Type::Int16, refusal.cast_unsigned().into());
        }
        self.written()
    }

    fn written(&mut self) -> Result<Vec<u8>, fixp_codec::Error> {
        let mut out = Vec::with_capacity(self.wire_len());
        self.finish(&mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use bytes::Bytes;
    use fixp_codec::{LEXST1, Message, Packet, Value};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A sheet is what the codec writes.
        #[test]
        fn a_sheet_is_a_packet(
            dialect in prop::sample::select(vec![&LAXCUS6, &LEXST1]),
            (association, number) in (any::<u64>(), 0..=i64::MAX.unsigned_abs()),
            numbers in prop::collection::btree_set(0..500u64, 0..40),
            windows in prop::collection::vec((any::<u64>(), any::<u32>()), 0..4),
            (exchange, offset) in (1..u64::MAX, any::<u32>()),
            len in 0..2000usize,
        ) {
            let mut come = Ranges::new(64);
            numbers.iter().for_each(|&number| { come.insert(number); });
            let offset = u64::from(offset);
            let chunk = Chunk { exchange, answer: len % 2 == 0, last: len % 3 == 0, offset, len };
            let delay = Duration::from_micros(offset);
            let mut sheet = Sheet::new();
            // It was used before, for more than this, and for what cannot be said.
            sheet.segment(extension::own(dialect), 1, 2);
            sheet.acknowledged(&come, delay, 32);
            sheet.raw(key::CHUNK, |out| out.resize(out.len() + MAX_VALUE + 1, 7));
            sheet.pad(100);
            prop_assert!(sheet.finish(&mut Vec::new()).is_err());
            sheet.segment(extension::own(dialect), association, number);
            let mut packet = Packet::new(SEGMENT)
                .with(key::ASSOCIATION, Value::Raw(Bytes::copy_from_slice(&association.to_le_bytes())))
                .with(key::NUMBER, number.cast_signed());
            let raw = |key, write: &dyn Fn(&mut Vec<u8>)| {
                let mut bytes = Vec::new();
                write(&mut bytes);
                Message::new(key, Value::Raw(bytes.into()))
            };
            if !come.is_empty() {
                sheet.acknowledged(&come, delay, 32);
                let message = raw(key::ACKNOWLEDGED, &|out| acknowledged::write(&come, delay, 32, out));
                packet.messages.push(message);
            }
            for (index, &(exchange, limit)) in windows.iter().enumerate() {
                let limit = u64::from(limit);
                let all = [
                    Window::Request { exchange, limit },
                    Window::Answer { exchange, limit },
                    Window::Bytes { limit },
                    Window::Exchanges { limit },
                ];
                let window = all[index];
                sheet.window(window);
                packet.messages.push(raw(key::WINDOW, &|out| window.write(out)));
            }
            sheet.chunk(chunk);
            packet.messages.push(raw(key::CHUNK, &|out| {
                for number in [exchange, chunk.flags(), offset, len as u64] {
                    varint::write(number, out);
                }
            }));
            let told_len = sheet.wire_len();
            let mut wire = Vec::new();
            prop_assert_eq!(sheet.finish(&mut wire), Ok(told_len - len));
            wire.resize(wire.len() + len, 7);
            let packet = packet.with_entity(vec![7; len]);
            prop_assert_eq!(&wire[..], &packet.to_bytes(extension::own(dialect)).unwrap()[..]);
            prop_assert_eq!(wire.len(), told_len);
        }
    }
}
