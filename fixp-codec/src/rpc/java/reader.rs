//! Reading a stream: one value, every part bounded before there is memory for it.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::limits::{self, Budget};
use super::super::{
    Array, Cause, Class, Content, Enum, Error, Field, Object, Part, Primitive, Text, Value, flag,
};
use super::{FIRST_HANDLE, MAGIC, code, utf};

/// How many interfaces Java takes of a dynamic proxy (SPEC 12.34).
const INTERFACES: usize = 0xffff;

/// What a back reference can name (SPEC 12.32).
enum Handle {
    Class(Arc<Class>),
    /// A value without others in it.
    Plain(Value),
    /// An array or object, by its number in the order of the stream.
    Anchor(u32),
    /// What is not finished, or not kept.
    Lost,
}

/// A stream that is being read.
pub(crate) struct Stream<'a, 'b> {
    input: &'a [u8],
    at: usize,
    budget: &'b mut Budget,
    handles: Vec<Handle>,
    /// The number of the root's anchor.
    first: u32,
    /// The anchors that something refers to.
    referred: BTreeSet<u32>,
    /// In a part that is not kept.
    dropping: bool,
}

impl<'a, 'b> Stream<'a, 'b> {
    /// A stream, past its first four bytes and the resets behind them.
    pub(crate) fn new(input: &'a [u8], budget: &'b mut Budget) -> Result<Self, Error> {
        limits::bytes(input.len(), budget.limits(), 0)?;
        let first = budget.anchor;
        let (handles, referred) = (Vec::new(), BTreeSet::new());
        let mut stream = Self { input, at: 0, budget, handles, first, referred, dropping: false };
        let magic = u32::from_be_bytes(*stream.array()?);
        if magic != MAGIC {
            return Err(Error::new(Cause::Magic, 0).number_read(magic));
        }
        while stream.peek() == Some(code::RESET) {
            stream.at += 1;
        }
        Ok(stream)
    }

    /// The first value.
    pub(crate) fn root(&mut self) -> Result<Value, Error> {
        self.begin()?;
        let value = self.value()?;
        Ok(self.anchored(value))
    }

    /// The first value where it must be an object, and where it stands. Its class is looked at before its parts are
    /// read.
    #[cfg(feature = "rpc-lexst1")]
    pub(crate) fn root_object(
        &mut self,
        is_it: impl FnOnce(&Class, usize) -> Result<(), Error>,
    ) -> Result<(Object, usize), Error> {
        let at = self.at;
        self.begin()?;
        let value = if self.peek() == Some(code::OBJECT) {
            self.at += 1;
            let class = self.some_class()?;
            is_it(&class, at)?;
            self.object_of(class, at + 1)?
        } else {
            self.value()?
        };
        match self.anchored(value) {
            Value::Object(object) => Ok((*object, at)),
            Value::Null => Err(Error::new(Cause::Null, at)),
            _ => Err(Error::new(Cause::OtherClass, at)),
        }
    }

    fn begin(&mut self) -> Result<(), Error> {
        let at = self.at;
        if let Some(code @ (code::BLOCK | code::LONG_BLOCK | code::END)) = self.peek() {
            return Err(Error::new(Cause::Block, at).number_read(code.into()));
        }
        self.budget.values(1, at)
    }

    fn anchored(&mut self, mut value: Value) -> Value {
        if !self.referred.is_empty() {
            anchor(&mut value, &mut self.first, &self.referred);
        }
        value
    }

    /// A value that its holder has taken from the budget.
    fn value(&mut self) -> Result<Value, Error> {
        let at = self.at;
        match self.byte()? {
            code::NULL => Ok(Value::Null),
            code::REFERENCE => self.reference(),
            code::DESCRIPTOR | code::PROXY => {
                self.at = at;
                Ok(Value::Descriptor(self.some_class()?))
            }
            code::OBJECT => self.object(),
            code::STRING => self.string().map(Value::String),
            code::LONG_STRING => self.long_string().map(Value::String),
            code::ARRAY => self.items(),
            code::CLASS => {
                let class = self.some_class()?;
                Ok(self.plain(Value::Class(class.into_type())))
            }
            code::ENUM => self.constant(),
            code => Err(Error::new(Cause::Code, at).number_read(code.into())),
        }
    }

    /// SPEC 12.35.
    fn object(&mut self) -> Result<Value, Error> {
        let at = self.at;
        let class = self.some_class()?;
        self.object_of(class, at)
    }

    /// The parts of an object whose class stands at `at`.
    fn object_of(&mut self, class: Arc<Class>, at: usize) -> Result<Value, Error> {
        let writes_itself = class.flags & flag::EXTERNALIZABLE != 0;
        let has_form = if writes_itself { flag::BLOCK_DATA } else { flag::SERIALIZABLE };
        let is_one = class.flags & has_form != 0 && class.flags & flag::ENUM == 0;
        if !is_one && class.interfaces.is_none() {
            return Err(Error::new(Cause::Flags, at).number_read(class.flags.into()));
        }
        if ["java.lang.String", "java.lang.Class", "java.io.ObjectStreamClass"]
            .iter()
            .any(|name| class.name == *name)
        {
            return Err(Error::new(Cause::Class, at));
        }
        if let Some(primitive) = class.boxes() {
            let value = self.primitive(primitive)?;
            return Ok(self.plain(value));
        }
        self.enter()?;
        let handle = self.number();
        self.handles.push(handle);
        let classes = class.parts();
        self.budget.values(classes.len(), at)?;
        let mut parts = Vec::with_capacity(classes.len());
        for class in classes {
            let mut part = Part::default();
            if !writes_itself {
                self.budget.values(class.fields.len(), self.at)?;
                part.fields.reserve_exact(class.fields.len());
                for field in &class.fields {
                    let value = match field.primitive() {
                        Some(primitive) => self.primitive(primitive)?,
                        None => self.value()?,
                    };
                    part.fields.push(value);
                }
            }
            if writes_itself || class.flags & flag::WRITE_METHOD != 0 {
                part.annotation = self.annotation()?;
            }
            parts.push(part);
        }
        self.budget.leave();
        Ok(Value::Object(Box::new(Object { class, parts })))
    }

    /// What stands before an end.
    fn annotation(&mut self) -> Result<Vec<Content>, Error> {
        let mut contents = Vec::new();
        loop {
            let at = self.at;
            let code = self.peek();
            let length = match code {
                Some(code::END) => {
                    self.at += 1;
                    return Ok(contents);
                }
                Some(code::BLOCK) => {
                    let [_, length] = *self.array()?;
                    Some(usize::from(length))
                }
                Some(code::LONG_BLOCK) => {
                    self.at += 1;
                    Some(self.count()?)
                }
                _ => None,
            };
            self.budget.values(1, at)?;
            contents.push(match length {
                Some(length) => Content::Block(self.take(length)?.into()),
                None => Content::Value(self.value()?),
            });
        }
    }

    /// An array, of numbers or of values (SPEC 12.36).
    fn items(&mut self) -> Result<Value, Error> {
        let at = self.at;
        let class = self.some_class()?;
        let mut name = class.name.units();
        if name.next() != Some(u16::from(b'[')) {
            return Err(Error::new(Cause::Class, at));
        }
        let element = name.next().and_then(|unit| u8::try_from(unit).ok()).and_then(Primitive::of_code);
        if let Some(primitive) = element.filter(|_| name.next().is_none()) {
            let value = self.primitives(primitive)?;
            return Ok(self.plain(value));
        }
        drop(name);
        self.enter()?;
        let handle = self.number();
        self.handles.push(handle);
        let count = self.count()?;
        // Each has a byte at least.
        if count > self.left() {
            return Err(Error::new(Cause::Cut, self.at).sizes(count, self.left()));
        }
        self.budget.values(count, self.at)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.value()?);
        }
        self.budget.leave();
        Ok(Value::Array(Box::new(Array { class, items })))
    }

    fn primitives(&mut self, primitive: Primitive) -> Result<Value, Error> {
        let count = self.count()?;
        Ok(match primitive {
            Primitive::Boolean => Value::Booleans(self.run(count, |[byte]| byte != 0)?),
            Primitive::Byte | Primitive::Void => Value::Bytes(self.take(count)?.into()),
            Primitive::Char => Value::Chars(self.run(count, u16::from_be_bytes)?),
            Primitive::Short => Value::Shorts(self.run(count, i16::from_be_bytes)?),
            Primitive::Int => Value::Ints(self.run(count, i32::from_be_bytes)?),
            Primitive::Long => Value::Longs(self.run(count, i64::from_be_bytes)?),
            Primitive::Float => Value::Floats(self.run(count, f32::from_be_bytes)?),
            Primitive::Double => Value::Doubles(self.run(count, f64::from_be_bytes)?),
        })
    }

    fn run<T, const N: usize>(&mut self, count: usize, number: fn([u8; N]) -> T) -> Result<Arc<[T]>, Error> {
        let bytes = self.take(count.saturating_mul(N))?;
        let (numbers, _) = bytes.as_chunks();
        Ok(numbers.iter().copied().map(number).collect())
    }

    fn primitive(&mut self, primitive: Primitive) -> Result<Value, Error> {
        Ok(match primitive {
            Primitive::Boolean => Value::Boolean(self.byte()? != 0),
            Primitive::Byte | Primitive::Void => Value::Byte(i8::from_be_bytes(*self.array()?)),
            Primitive::Char => Value::Char(u16::from_be_bytes(*self.array()?)),
            Primitive::Short => Value::Short(i16::from_be_bytes(*self.array()?)),
            Primitive::Int => Value::Int(i32::from_be_bytes(*self.array()?)),
            Primitive::Long => Value::Long(i64::from_be_bytes(*self.array()?)),
            Primitive::Float => Value::Float(f32::from_be_bytes(*self.array()?)),
            Primitive::Double => Value::Double(f64::from_be_bytes(*self.array()?)),
        })
    }

    fn constant(&mut self) -> Result<Value, Error> {
        let at = self.at;
        let class = self.some_class()?;
        if class.flags & flag::ENUM == 0 {
            return Err(Error::new(Cause::Flags, at).number_read(class.flags.into()));
        }
        let handle = self.handles.len();
        self.handles.push(Handle::Lost);
        let constant = self.text()?;
        let value = Value::Enum(Box::new(Enum { class, constant }));
        if let Some(place) = self.handles.get_mut(handle) {
            *place = Handle::Plain(value.clone());
        }
        Ok(value)
    }

    /// A text, or a reference to one.
    fn text(&mut self) -> Result<Text, Error> {
        let at = self.at;
        match self.byte()? {
            code::STRING => self.string(),
            code::LONG_STRING => self.long_string(),
            code::REFERENCE => match self.handle()? {
                Handle::Plain(Value::String(text)) => Ok(text.clone()),
                _ => Err(self.dangling(at)),
            },
            code => Err(Error::new(Cause::Code, at).number_read(code.into())),
        }
    }

    fn string(&mut self) -> Result<Text, Error> {
        let text = self.name()?;
        self.plain(Value::String(text.clone()));
        Ok(text)
    }

    fn long_string(&mut self) -> Result<Text, Error> {
        // A length below zero is none, as in Java.
        let length = i64::from_be_bytes(*self.array()?).max(0);
        let at = self.at;
        let text = utf::read(self.take(usize::try_from(length).unwrap_or(usize::MAX))?, at)?;
        self.plain(Value::String(text.clone()));
        Ok(text)
    }

    /// A text of its own, which nothing refers to.
    fn name(&mut self) -> Result<Text, Error> {
        let length = u16::from_be_bytes(*self.array()?);
        let at = self.at;
        utf::read(self.take(length.into())?, at)
    }

    fn some_class(&mut self) -> Result<Arc<Class>, Error> {
        let at = self.at;
        self.class()?.ok_or(Error::new(Cause::Class, at))
    }

    /// A class, and what it extends (SPEC 12.34): without recursion, however many there are.
    fn class(&mut self) -> Result<Option<Arc<Class>>, Error> {
        let mut open: Vec<(Class, usize)> = Vec::new();
        let mut parent = loop {
            let at = self.at;
            let handle = self.handles.len();
            let class = match self.byte()? {
                code::NULL => break None,
                code::REFERENCE => match self.handle()? {
                    Handle::Class(class) => break Some(Arc::clone(class)),
                    _ => return Err(self.dangling(at)),
                },
                code::DESCRIPTOR => self.descriptor()?,
                code::PROXY => self.proxy()?,
                code => return Err(Error::new(Cause::Code, at).number_read(code.into())),
            };
            self.budget.values(1, at)?;
            limits::depth(open.len() + 1, self.budget.limits(), at)?;
            if open.is_empty() {
                // Most extend nothing.
                open.reserve_exact(1);
            }
            open.push((class, handle));
        };
        let above = parent.as_ref().map_or(0, |class| class.chain().count());
        limits::depth(open.len() + above, self.budget.limits(), self.at)?;
        while let Some((mut class, handle)) = open.pop() {
            class.parent = parent;
            let class = Arc::new(class);
            if let Some(place) = self.handles.get_mut(handle) {
                *place = Handle::Class(Arc::clone(&class));
            }
            parent = Some(class);
        }
        Ok(parent)
    }

    /// A class without what it extends.
    fn descriptor(&mut self) -> Result<Class, Error> {
        let name = self.name()?;
        let suid = i64::from_be_bytes(*self.array()?);
        self.handles.push(Handle::Lost);
        let at = self.at;
        let flags = self.byte()?;
        let has = |bits| flags & bits == bits;
        // A count below zero is none, as in Java.
        let count = usize::try_from(i16::from_be_bytes(*self.array()?)).unwrap_or(0);
        let both = has(flag::SERIALIZABLE | flag::EXTERNALIZABLE);
        if both || has(flag::ENUM) && (suid != 0 || count != 0) {
            return Err(Error::new(Cause::Flags, at).number_read(flags.into()));
        }
        self.budget.values(count, self.at)?;
        // Each has three bytes at least.
        let mut fields = Vec::with_capacity(count.min(self.left() / 3));
        let mut object_before = false;
        for _ in 0..count {
            let at = self.at;
            let code = self.byte()?;
            let name = self.name()?;
            let signature = match code {
                b'L' | b'[' => self.text()?,
                code => Text::from_utf16(&[code.into()]),
            };
            let field = Field { name, signature };
            let is_object = matches!(field.signature.units().next(), Some(0x4c | 0x5b));
            if !is_object && (object_before || field.primitive().is_none()) {
                return Err(Error::new(Cause::Field, at));
            }
            object_before = is_object;
            fields.push(field);
        }
        self.dropped()?;
        Ok(Class { fields, ..Class::new(name, suid, flags) })
    }

    /// A dynamic proxy without what it extends.
    fn proxy(&mut self) -> Result<Class, Error> {
        self.handles.push(Handle::Lost);
        let count = self.count()?;
        if count > INTERFACES {
            return Err(Error::new(Cause::Interfaces, self.at).sizes(count, INTERFACES));
        }
        // Each has two bytes at least.
        if count > self.left() / 2 {
            return Err(Error::new(Cause::Cut, self.at).sizes(count.saturating_mul(2), self.left()));
        }
        self.budget.values(count, self.at)?;
        let mut interfaces = Vec::with_capacity(count);
        for _ in 0..count {
            interfaces.push(self.name()?);
        }
        self.dropped()?;
        Ok(Class { interfaces: Some(interfaces), ..Class::new("", 0, 0) })
    }

    /// What stands behind a class: nothing that the programs use.
    fn dropped(&mut self) -> Result<(), Error> {
        if self.peek() == Some(code::END) {
            self.at += 1;
            return Ok(());
        }
        self.enter()?;
        let outer = core::mem::replace(&mut self.dropping, true);
        self.annotation()?;
        self.dropping = outer;
        self.budget.leave();
        Ok(())
    }

    fn reference(&mut self) -> Result<Value, Error> {
        let at = self.at - 1;
        let number = match self.handle()? {
            Handle::Class(class) => return Ok(Value::Descriptor(Arc::clone(class))),
            Handle::Plain(value) => return Ok(value.clone()),
            Handle::Anchor(number) => *number,
            Handle::Lost => return Err(self.dangling(at)),
        };
        self.referred.insert(number);
        Ok(Value::Alias(number))
    }

    /// What the reference that stands here names.
    fn handle(&mut self) -> Result<&Handle, Error> {
        let at = self.at - 1;
        let reference = u32::from_be_bytes(*self.array()?);
        let index = reference.checked_sub(FIRST_HANDLE).and_then(|index| usize::try_from(index).ok());
        index
            .and_then(|index| self.handles.get(index))
            .ok_or(Error::new(Cause::Reference, at).number_read(reference))
    }

    /// The refusal of the reference that was just read.
    fn dangling(&self, at: usize) -> Error {
        let read = self.input.get(at + 1..).and_then(<[u8]>::first_chunk);
        Error::new(Cause::Reference, at).number_read(read.map_or(0, |bytes| u32::from_be_bytes(*bytes)))
    }

    fn plain(&mut self, value: Value) -> Value {
        self.handles.push(Handle::Plain(value.clone()));
        value
    }

    /// The number of the next array or object.
    fn number(&mut self) -> Handle {
        if self.dropping {
            return Handle::Lost;
        }
        let number = self.budget.anchor;
        self.budget.anchor = number.wrapping_add(1);
        Handle::Anchor(number)
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.budget.enter(self.at)
    }

    fn left(&self) -> usize {
        self.input.len() - self.at
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let [byte] = *self.array()?;
        Ok(byte)
    }

    fn count(&mut self) -> Result<usize, Error> {
        let at = self.at;
        let count = i32::from_be_bytes(*self.array()?);
        usize::try_from(count)
            .map_err(|_| Error::new(Cause::NegativeCount, at).number_read(count.cast_unsigned()))
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        let rest = &self.input[self.at..];
        let array = rest.first_chunk().ok_or(Error::new(Cause::Cut, self.at).sizes(N, rest.len()))?;
        self.at += N;
        Ok(array)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let rest = &self.input[self.at..];
        let taken = rest.get(..n).ok_or(Error::new(Cause::Cut, self.at).sizes(n, rest.len()))?;
        self.at += n;
        Ok(taken)
    }
}

/// Puts anchors where the arrays and objects are that something refers to: they were counted in this order.
fn anchor(value: &mut Value, next: &mut u32, referred: &BTreeSet<u32>) {
    let number = *next;
    match value {
        Value::Array(array) => {
            *next = number.wrapping_add(1);
            array.items.iter_mut().for_each(|value| anchor(value, next, referred));
        }
        Value::Object(object) => {
            *next = number.wrapping_add(1);
            for part in &mut object.parts {
                part.fields.iter_mut().for_each(|value| anchor(value, next, referred));
                for content in &mut part.annotation {
                    if let Content::Value(value) = content {
                        anchor(value, next, referred);
                    }
                }
            }
        }
        _ => return,
    }
    if referred.contains(&number) {
        *value = Value::Anchor(number, Box::new(core::mem::replace(value, Value::Null)));
    }
}
