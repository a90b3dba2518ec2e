//! Reading: a cursor over the payload, and what is left of the limits.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::tag;
use crate::rpc::limits::{self, Budget};
use crate::rpc::{
    Array, Call, Cause, Class, Classable, Error, Limits, Primitive, Reply, Text, Throwable, Type, Value, java,
};

/// A payload that is being read.
pub(super) struct Reader<'a> {
    cursor: Cursor<'a>,
    budget: Budget,
    /// The class of all arrays of objects, once there is one.
    objects: Option<Arc<Class>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        limits::bytes(payload.len(), limits, 0)?;
        let mut budget = Budget::new(limits);
        budget.enter(0)?;
        Ok(Self { cursor: Cursor { rest: payload, end: payload.len() }, budget, objects: None })
    }

    /// SPEC 12.11.
    pub(super) fn call(&mut self) -> Result<Call, Error> {
        let (interface, method) = (self.cursor.string()?, self.cursor.string()?);
        let types = self.list(Self::ty)?;
        let params = self.list(Self::value)?;
        Ok(Call { interface, method, types: Some(types), params: (!params.is_empty()).then_some(params) })
    }

    /// SPEC 12.13.
    pub(super) fn reply(&mut self) -> Result<Reply, Error> {
        let object = self.optional()?;
        let at = self.cursor.offset();
        let throwable = self.optional()?;
        match &throwable {
            Some(value) if !Throwable::is(value) => Err(Error::new(Cause::OtherType, at)),
            _ => Ok(Reply { object, throwable }),
        }
    }

    fn optional(&mut self) -> Result<Option<Value>, Error> {
        if self.cursor.u8()? != 1 {
            return Ok(None);
        }
        Ok(Some(self.value()?).filter(|value| *value != Value::Null))
    }

    /// A number of things and so many of them. They are counted against the limit before the first is read; but
    /// as each may take more memory than input, nothing is allocated for what is only announced (SPEC 12.23).
    fn list<T>(&mut self, one: fn(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let at = self.cursor.offset();
        let n = self.cursor.count()?;
        self.budget.values(n, at)?;
        let mut list = Vec::new();
        for _ in 0..n {
            list.push(one(self)?);
        }
        Ok(list)
    }

    /// SPEC 12.12.
    fn ty(&mut self) -> Result<Option<Type>, Error> {
        let at = self.cursor.offset();
        match (self.cursor.u8()? == 1, self.cursor.string()?) {
            (true, name) => {
                Ok(name.as_ref().and_then(Text::as_str).and_then(Primitive::named).map(Type::Primitive))
            }
            (false, Some(name)) => self.class(name, at).map(Some),
            (false, None) => Err(Error::new(Cause::Class, at)),
        }
    }

    /// A class of this name. What describes one takes the memory of two values.
    fn class(&mut self, name: Text, at: usize) -> Result<Type, Error> {
        self.budget.values(1, at)?;
        Ok(Type::class(name))
    }

    /// SPEC 12.14.
    fn value(&mut self) -> Result<Value, Error> {
        let cursor = &mut self.cursor;
        let at = cursor.offset();
        self.budget.enter(at)?;
        let value = match cursor.u8()? {
            tag::NULL => Value::Null,
            tag::BYTES => cursor.bytes()?,
            tag::BOOLEANS => cursor.array(|[byte]| byte == 1, Value::Booleans)?,
            tag::CHARS => cursor.array(u16::from_le_bytes, Value::Chars)?,
            tag::SHORTS => cursor.array(i16::from_le_bytes, Value::Shorts)?,
            tag::INTS => cursor.array(i32::from_le_bytes, Value::Ints)?,
            tag::LONGS => cursor.array(i64::from_le_bytes, Value::Longs)?,
            tag::FLOATS => cursor.array(f32::from_le_bytes, Value::Floats)?,
            tag::DOUBLES => cursor.array(f64::from_le_bytes, Value::Doubles)?,
            tag::OBJECTS => self.objects()?,
            tag::BYTE => cursor.number(i8::from_le_bytes)?.into(),
            tag::BOOLEAN => (cursor.u8()? == 1).into(), // SPEC 12.15
            tag::CHAR => cursor.number(u16::from_le_bytes)?.into(),
            tag::SHORT => cursor.number(i16::from_le_bytes)?.into(),
            tag::INT => cursor.number(i32::from_le_bytes)?.into(),
            tag::LONG => cursor.number(i64::from_le_bytes)?.into(),
            tag::FLOAT => cursor.number(f32::from_le_bytes)?.into(),
            tag::DOUBLE => cursor.number(f64::from_le_bytes)?.into(),
            tag::STRING => cursor.string()?.into(),
            tag::VOID_CLASS => self.class("java.lang.Void".into(), at)?.into(),
            tag::CLASSABLE => cursor.classable()?,
            tag::JAVA => self.java()?,
            other => match Primitive::ALL.get(usize::from(other.wrapping_sub(tag::PRIMITIVE))) {
                Some(primitive) => Type::Primitive(*primitive).into(),
                None => return Err(Error::new(Cause::Code, at).number_read(other.into())),
            },
        };
        self.budget.leave();
        Ok(value)
    }

    /// SPEC 12.18.
    fn objects(&mut self) -> Result<Value, Error> {
        let items = self.list(Self::value)?;
        let class = self.objects.get_or_insert_with(|| Arc::new(Class::named("[Ljava.lang.Object;")));
        Ok(Value::Array(Box::new(Array { class: Arc::clone(class), items })))
    }

    /// SPEC 12.20. What stands behind the object is ignored.
    fn java(&mut self) -> Result<Value, Error> {
        let part = self.cursor.part()?;
        java::decode_part(part.rest, &mut self.budget)
            .map_err(|error| error.moved(part.offset()).within_java())
    }
}

/// Bytes not yet read, and where they stand in the payload.
struct Cursor<'a> {
    rest: &'a [u8],
    /// The offset of the end of `rest` in the payload: it never moves while reading.
    end: usize,
}

impl<'a> Cursor<'a> {
    /// SPEC 12.16: no bytes are null.
    fn bytes(&mut self) -> Result<Value, Error> {
        Ok(match self.length()? {
            0 => Value::Null,
            n => self.take(n)?.into(),
        })
    }

    /// SPEC 12.17.
    fn array<const N: usize, T>(
        &mut self,
        read: impl Fn([u8; N]) -> T,
        value: fn(Arc<[T]>) -> Value,
    ) -> Result<Value, Error> {
        let Some(n) = self.length_or_null()? else { return Ok(Value::Null) };
        let (elements, _) = self.take(n.saturating_mul(N))?.as_chunks();
        Ok(value(elements.iter().map(|bytes| read(*bytes)).collect()))
    }

    /// SPEC 12.19. What the fields are only the class knows, so bytes behind them are of them.
    fn classable(&mut self) -> Result<Value, Error> {
        let mut part = self.part()?;
        if part.u8()? != 1 {
            return Ok(Value::Null);
        }
        let at = part.offset();
        let Some(class) = part.string()? else { return Err(Error::new(Cause::Class, at)) };
        Ok(Value::Classable(Box::new(Classable { class, fields: part.rest.into() })))
    }

    /// SPEC 12.10.
    fn string(&mut self) -> Result<Option<Text>, Error> {
        let Some(n) = self.length_or_null()? else { return Ok(None) };
        Ok(Some(text(self.take(n)?)))
    }

    /// A part that says its length, at least 1.
    fn part(&mut self) -> Result<Self, Error> {
        let at = self.offset();
        let n = self.number(i32::from_le_bytes)?;
        match usize::try_from(n) {
            Ok(n @ 1..) => Ok(Self { rest: self.take(n)?, end: self.offset() }),
            _ => Err(self.below(Cause::Empty, at, n)),
        }
    }

    /// A number of values.
    fn count(&mut self) -> Result<usize, Error> {
        self.natural(Cause::NegativeCount)
    }

    /// A length of text, or of an array of numbers.
    fn length(&mut self) -> Result<usize, Error> {
        self.natural(Cause::NegativeLength)
    }

    /// The same where -1 is null.
    fn length_or_null(&mut self) -> Result<Option<usize>, Error> {
        if self.rest.starts_with(&(-1_i32).to_le_bytes()) {
            self.take(4)?;
            return Ok(None);
        }
        self.length().map(Some)
    }

    fn natural(&mut self, below: Cause) -> Result<usize, Error> {
        let at = self.offset();
        let n = self.number(i32::from_le_bytes)?;
        usize::try_from(n).map_err(|_| self.below(below, at, n))
    }

    fn below(&self, cause: Cause, at: usize, n: i32) -> Error {
        Error::new(cause, at).number_read(n.cast_unsigned()).sizes(0, self.rest.len())
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.number(u8::from_le_bytes)
    }

    fn number<const N: usize, T>(&mut self, read: fn([u8; N]) -> T) -> Result<T, Error> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else { return Err(self.cut(N)) };
        self.rest = rest;
        Ok(read(*bytes))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.rest.split_at_checked(n) else { return Err(self.cut(n)) };
        self.rest = rest;
        Ok(taken)
    }

    fn cut(&self, needed: usize) -> Error {
        Error::new(Cause::Cut, self.offset()).sizes(needed, self.rest.len())
    }

    const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }
}

/// Text of UTF-8, with U+FFFD where it is not, as Java has it (SPEC 12.10): like Rust, but for surrogates,
/// which are one wrong character to Java and three wrong bytes to Rust.
fn text(bytes: &[u8]) -> Text {
    if let Ok(text) = core::str::from_utf8(bytes) {
        return text.into();
    }
    let mut text = String::new();
    // How many bytes of a surrogate may follow.
    let mut follow = 0;
    for chunk in bytes.utf8_chunks() {
        let followed = chunk.valid().is_empty()
            && matches!((follow, chunk.invalid()), (2, [0xa0..=0xbf]) | (1, [0x80..=0xbf]));
        text.push_str(chunk.valid());
        follow = match chunk.invalid() {
            [0xed] => 2,
            _ if followed => follow - 1,
            _ => 0,
        };
        if !followed && !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::text;

    /// How many characters Java replaces, by its own decoder.
    #[test]
    fn ill_formed_text_is_replaced_as_java_does() {
        for (bytes, replaced) in [
            (&b"\xc0\x80"[..], "??"),
            (b"\xed\xa0\x80", "?"),
            (b"\xed\xa0\xbd\xed\xb8\x80", "??"),
            (b"\xed\xa0", "?"),
            (b"\xed\xa0a\x80", "?a?"),
            (b"\xeda\x80", "?a?"),
            (b"\xed\x9f\xbf\xed", "\u{d7ff}?"),
            (b"\xed\xed\xa0\x80\x80", "???"),
            (b"a\xff\x80\xc2", "a???"),
            (b"\xf0\x9f\x98", "?"),
            (b"\xf0\x9f\x98\x80", "\u{1f600}"),
            (b"\xf4\x90\x80\x80", "????"),
            (b"\xe4\xbd", "?"),
        ] {
            assert_eq!(text(bytes).to_string(), replaced.replace('?', "\u{fffd}"), "{bytes:x?}");
        }
    }
}
