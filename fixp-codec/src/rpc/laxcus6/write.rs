//! Writing, as laxcus6's own writer does it (SPEC 12.21).

use alloc::vec::Vec;

use super::tag;
use crate::rpc::{Call, Cause, Classable, Error, Limits, Primitive, Reply, Text, Type, Value, java};

/// A payload that is being written.
pub(super) struct Writer<'a> {
    pub(super) out: Vec<u8>,
    limits: &'a Limits,
    /// How many values have been written.
    values: usize,
    /// How many values stand around the next one.
    depth: usize,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(limits: &'a Limits) -> Self {
        Self { out: Vec::new(), limits, values: 0, depth: 1 }
    }

    /// SPEC 12.11.
    pub(super) fn call(&mut self, call: &Call) -> Result<(), Error> {
        self.string(call.interface.as_ref())?;
        self.string(call.method.as_ref())?;
        let types = call.types.as_deref().unwrap_or_default();
        self.count(types.len())?;
        for ty in types {
            self.one_more()?;
            self.ty(ty.as_ref())?;
        }
        self.values(call.params.as_deref().unwrap_or_default())
    }

    /// SPEC 12.13.
    pub(super) fn reply(&mut self, reply: &Reply) -> Result<(), Error> {
        for value in [&reply.object, &reply.throwable] {
            match value {
                None | Some(Value::Null) => self.put(&[0])?,
                Some(value) => {
                    self.put(&[1])?;
                    self.value(value)?;
                }
            }
        }
        Ok(())
    }

    /// SPEC 12.12.
    fn ty(&mut self, ty: Option<&Type>) -> Result<(), Error> {
        match ty {
            Some(Type::Primitive(primitive)) => {
                self.put(&[1])?;
                self.utf8(primitive.name())
            }
            Some(Type::Class(class)) => {
                self.put(&[0])?;
                self.string(Some(&class.name))
            }
            None => {
                self.put(&[1])?;
                self.string(None)
            }
        }
    }

    fn values(&mut self, values: &[Value]) -> Result<(), Error> {
        self.count(values.len())?;
        values.iter().try_for_each(|value| self.value(value))
    }

    /// SPEC 12.14.
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        if self.depth >= self.limits.depth {
            return Err(self.error(Cause::DepthLimit).sizes(0, self.limits.depth));
        }
        self.one_more()?;
        match value {
            Value::Null => self.put(&[tag::NULL]),
            Value::Boolean(it) => self.tagged(tag::BOOLEAN, [u8::from(*it)]),
            Value::Byte(it) => self.tagged(tag::BYTE, it.to_le_bytes()),
            Value::Char(it) => self.tagged(tag::CHAR, it.to_le_bytes()),
            Value::Short(it) => self.tagged(tag::SHORT, it.to_le_bytes()),
            Value::Int(it) => self.tagged(tag::INT, it.to_le_bytes()),
            Value::Long(it) => self.tagged(tag::LONG, it.to_le_bytes()),
            Value::Float(it) => self.tagged(tag::FLOAT, float(*it)),
            Value::Double(it) => self.tagged(tag::DOUBLE, double(*it)),
            Value::String(text) => {
                self.put(&[tag::STRING])?;
                self.string(Some(text))
            }
            Value::Bytes(bytes) if bytes.is_empty() => Err(self.error(Cause::EmptyBytes)), // SPEC 12.16
            Value::Bytes(bytes) => {
                self.put(&[tag::BYTES])?;
                self.count(bytes.len())?;
                self.put(bytes)
            }
            Value::Booleans(items) => self.array(tag::BOOLEANS, items, |it| [u8::from(it)]),
            Value::Chars(items) => self.array(tag::CHARS, items, u16::to_le_bytes),
            Value::Shorts(items) => self.array(tag::SHORTS, items, i16::to_le_bytes),
            Value::Ints(items) => self.array(tag::INTS, items, i32::to_le_bytes),
            Value::Longs(items) => self.array(tag::LONGS, items, i64::to_le_bytes),
            Value::Floats(items) => self.array(tag::FLOATS, items, float),
            Value::Doubles(items) => self.array(tag::DOUBLES, items, double),
            Value::Array(array) => {
                self.put(&[tag::OBJECTS])?; // SPEC 12.18
                self.depth += 1;
                self.values(&array.items)?;
                self.depth -= 1;
                Ok(())
            }
            Value::Class(Type::Primitive(primitive)) => {
                let at = Primitive::ALL.iter().zip(tag::PRIMITIVE..).find(|(it, _)| *it == primitive);
                self.put(&[at.map_or(tag::PRIMITIVE, |(_, tag)| tag)])
            }
            Value::Classable(classable) => self.classable(classable),
            // What is shared is written each time it occurs (SPEC 12.18); only a Java stream can share.
            Value::Anchor(_, within) if !is_java(within) => self.value(within),
            Value::Alias(number) => Err(self.error(Cause::Alias).number_read(*number)),
            other => self.java(other),
        }
    }

    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Error> {
        self.put(&[tag])?;
        self.put(&bytes)
    }

    /// SPEC 12.17.
    fn array<const N: usize, T: Copy>(
        &mut self,
        tag: u8,
        items: &[T],
        write: impl Fn(T) -> [u8; N],
    ) -> Result<(), Error> {
        self.put(&[tag])?;
        self.count(items.len())?;
        self.room(items.len().saturating_mul(N))?;
        self.out.extend(items.iter().flat_map(|item| write(*item)));
        Ok(())
    }

    /// SPEC 12.19.
    fn classable(&mut self, classable: &Classable) -> Result<(), Error> {
        self.put(&[tag::CLASSABLE])?;
        self.part(|writer| {
            writer.put(&[1])?;
            writer.string(Some(&classable.class))?;
            writer.put(&classable.fields)
        })
    }

    /// SPEC 12.20.
    fn java(&mut self, value: &Value) -> Result<(), Error> {
        self.put(&[tag::JAVA])?;
        self.part(|writer| {
            let left = Limits {
                bytes: writer.limits.bytes - writer.out.len(),
                depth: writer.limits.depth - writer.depth,
                values: writer.limits.values - writer.values,
            };
            let stream =
                java::encode_value_within(value, &left).map_err(|error| error.moved(writer.out.len()))?;
            writer.put(&stream)
        })
    }

    /// What is written, behind its length.
    fn part(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let at = self.out.len();
        self.put(&[0xee; 4])?;
        write(self)?;
        let length = self.int(self.out.len() - at - 4)?;
        if let Some(room) = self.out.get_mut(at..at + 4) {
            room.copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }

    /// SPEC 12.10.
    fn string(&mut self, text: Option<&Text>) -> Result<(), Error> {
        match text {
            None => self.put(&(-1_i32).to_le_bytes()),
            Some(text) => match text.as_str() {
                Some(text) => self.utf8(text),
                None => {
                    let units = char::decode_utf16(text.units());
                    self.utf8(&units.map(|it| it.unwrap_or('?')).collect::<alloc::string::String>())
                }
            },
        }
    }

    fn utf8(&mut self, text: &str) -> Result<(), Error> {
        self.count(text.len())?;
        self.put(text.as_bytes())
    }

    fn count(&mut self, n: usize) -> Result<(), Error> {
        let n = self.int(n)?;
        self.put(&n.to_le_bytes())
    }

    fn int(&self, n: usize) -> Result<i32, Error> {
        i32::try_from(n).map_err(|_| self.error(Cause::BytesLimit).sizes(n, i32::MAX as usize))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.room(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Refuses what would pass the limit of bytes.
    fn room(&self, n: usize) -> Result<(), Error> {
        let needed = self.out.len().saturating_add(n);
        if needed > self.limits.bytes {
            return Err(self.error(Cause::BytesLimit).sizes(needed, self.limits.bytes));
        }
        Ok(())
    }

    fn one_more(&mut self) -> Result<(), Error> {
        if self.values >= self.limits.values {
            return Err(self.error(Cause::ValuesLimit).sizes(0, self.limits.values));
        }
        self.values += 1;
        Ok(())
    }

    fn error(&self, cause: Cause) -> Error {
        Error::new(cause, self.out.len())
    }
}

/// Whether a value travels as a Java stream.
fn is_java(value: &Value) -> bool {
    matches!(value, Value::Enum(_) | Value::Object(_) | Value::Descriptor(_))
}

/// SPEC 12.15.
fn float(it: f32) -> [u8; 4] {
    if it.is_nan() { 0x7fc0_0000_u32.to_le_bytes() } else { it.to_le_bytes() }
}

/// SPEC 12.15.
fn double(it: f64) -> [u8; 8] {
    if it.is_nan() { 0x7ff8_0000_0000_0000_u64.to_le_bytes() } else { it.to_le_bytes() }
}
