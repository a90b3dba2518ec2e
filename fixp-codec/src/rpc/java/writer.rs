//! Writing a stream: what is one object to Java is written once, and referred to from then on (SPEC 12.39).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::{
    Array, Cause, Class, Content, Enum, Error, Limits, Object, Primitive, Text, Type, Value, flag, limits,
};
use super::kinds::Kinds;
use super::{FIRST_HANDLE, MAGIC, code, utf};

/// What was written, by what makes it one object to Java, and its handle.
#[derive(Default)]
struct Written {
    /// By their kinds.
    classes: BTreeMap<u32, u32>,
    /// Class objects, by the kinds of their classes.
    types: BTreeMap<u32, u32>,
    /// Texts and arrays of numbers, by where they lie. All of them outlive the writing, so that no two lie in one
    /// place: the values are borrowed by the caller, the classes are kept by the kinds.
    shared: BTreeMap<usize, u32>,
    /// The types of fields, which Java interns, by their kinds.
    signatures: BTreeMap<u32, u32>,
    /// The boxes that Java keeps.
    boxes: BTreeMap<(Primitive, u64), u32>,
    /// By the kinds of their classes and names.
    constants: BTreeMap<(u32, u32), u32>,
    anchors: BTreeMap<u32, u32>,
}

/// A stream that is being written.
pub(crate) struct Writer<'l> {
    out: Vec<u8>,
    limits: &'l Limits,
    depth: usize,
    next: u32,
    written: Written,
    kinds: Kinds,
    /// The classes of boxes and of arrays of numbers, made when first needed.
    named: BTreeMap<&'static str, Arc<Class>>,
}

impl<'l> Writer<'l> {
    /// A stream of nothing yet.
    pub(crate) fn new(limits: &'l Limits) -> Self {
        let (written, kinds, named) = (Written::default(), Kinds::default(), BTreeMap::new());
        let out = MAGIC.to_be_bytes().to_vec();
        Self { out, limits, depth: 0, next: FIRST_HANDLE, written, kinds, named }
    }

    /// The stream.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Error> {
        limits::bytes(self.out.len(), self.limits, self.out.len())?;
        Ok(self.out)
    }

    /// One value.
    pub(crate) fn value(&mut self, value: &Value) -> Result<(), Error> {
        let mut value = value;
        let mut anchor = None;
        if let Value::Anchor(number, inner) = value {
            (value, anchor) = (inner, Some(*number));
        }
        match value {
            Value::Null if anchor.is_none() => self.null(),
            Value::Alias(number) if anchor.is_none() => {
                let handle = self.written.anchors.get(number).copied();
                self.refer(handle.ok_or(self.refused(Cause::Alias).number_read(*number))?);
            }
            Value::Boolean(_)
            | Value::Byte(_)
            | Value::Char(_)
            | Value::Short(_)
            | Value::Int(_)
            | Value::Long(_)
            | Value::Float(_)
            | Value::Double(_) => self.boxed(value, anchor)?,
            Value::String(text) => self.text(text, anchor)?,
            Value::Booleans(a) => self.numbers(Primitive::Boolean, a, anchor, |it| [u8::from(it)])?,
            Value::Bytes(a) => self.bytes(a, anchor)?,
            Value::Chars(a) => self.numbers(Primitive::Char, a, anchor, u16::to_be_bytes)?,
            Value::Shorts(a) => self.numbers(Primitive::Short, a, anchor, i16::to_be_bytes)?,
            Value::Ints(a) => self.numbers(Primitive::Int, a, anchor, i32::to_be_bytes)?,
            Value::Longs(a) => self.numbers(Primitive::Long, a, anchor, i64::to_be_bytes)?,
            Value::Floats(a) => self.numbers(Primitive::Float, a, anchor, float)?,
            Value::Doubles(a) => self.numbers(Primitive::Double, a, anchor, double)?,
            Value::Array(array) => self.items(array, anchor)?,
            Value::Class(ty) => self.ty(ty, anchor)?,
            Value::Descriptor(class) if anchor.is_none() => self.class(class)?,
            Value::Enum(constant) => self.constant(constant, anchor)?,
            Value::Object(object) => self.object(object, anchor)?,
            Value::Null
            | Value::Alias(_)
            | Value::Descriptor(_)
            | Value::Classable(_)
            | Value::Anchor(..) => {
                return Err(self.refused(Cause::Unwritable));
            }
        }
        Ok(())
    }

    /// Null.
    pub(crate) fn null(&mut self) {
        self.out.push(code::NULL);
    }

    /// A text.
    pub(crate) fn text(&mut self, text: &Text, anchor: Option<u32>) -> Result<(), Error> {
        if let Some(&handle) = self.written.shared.get(&text.address()) {
            self.again(handle, anchor);
            return Ok(());
        }
        let bytes = utf::bytes(text);
        self.room(bytes.len())?;
        match u16::try_from(bytes.len()) {
            Ok(length) => {
                self.out.push(code::STRING);
                self.out.extend(length.to_be_bytes());
            }
            Err(_) => {
                self.out.push(code::LONG_STRING);
                self.out.extend((bytes.len() as u64).to_be_bytes());
            }
        }
        self.out.extend(bytes);
        let handle = self.handle(anchor)?;
        self.written.shared.insert(text.address(), handle);
        Ok(())
    }

    /// The head of an array of this class.
    pub(crate) fn array(
        &mut self,
        class: &Arc<Class>,
        count: usize,
        anchor: Option<u32>,
    ) -> Result<u32, Error> {
        self.out.push(code::ARRAY);
        self.class(class)?;
        let handle = self.handle(anchor)?;
        let count = i32::try_from(count).map_err(|_| self.refused(Cause::Unwritable))?;
        self.out.extend(count.to_be_bytes());
        Ok(handle)
    }

    /// The head of an object of this class.
    pub(crate) fn object_of(&mut self, class: &Arc<Class>, anchor: Option<u32>) -> Result<u32, Error> {
        self.out.push(code::OBJECT);
        self.class(class)?;
        self.handle(anchor)
    }

    /// A class object.
    pub(crate) fn ty(&mut self, ty: &Type, anchor: Option<u32>) -> Result<(), Error> {
        let class = match ty {
            Type::Primitive(primitive) => self.named(primitive.name()),
            Type::Class(class) => Arc::clone(class),
        };
        let kind = self.kind(&class)?;
        if let Some(&handle) = self.written.types.get(&kind) {
            self.again(handle, anchor);
            return Ok(());
        }
        self.out.push(code::CLASS);
        self.class(&class)?;
        let handle = self.handle(anchor)?;
        self.written.types.insert(kind, handle);
        Ok(())
    }

    /// One level deeper, until [`leave`](Self::leave).
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        self.depth += 1;
        limits::depth(self.depth, self.limits, self.out.len())
    }

    /// One level less deep.
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    fn items(&mut self, array: &Array, anchor: Option<u32>) -> Result<(), Error> {
        let mut name = array.class.name.units();
        let element = (name.next(), name.next().and_then(|unit| u8::try_from(unit).ok()), name.next());
        let is_of_values = match element {
            (Some(0x5b), Some(code), None) => Primitive::of_code(code).is_none(),
            (first, ..) => first == Some(0x5b),
        };
        if !is_of_values {
            return Err(self.refused(Cause::Class));
        }
        self.enter()?;
        self.room(array.items.len())?;
        self.array(&array.class, array.items.len(), anchor)?;
        array.items.iter().try_for_each(|value| self.value(value))?;
        self.leave();
        Ok(())
    }

    fn object(&mut self, object: &Object, anchor: Option<u32>) -> Result<(), Error> {
        let class = &object.class;
        let writes_itself = class.flags & flag::EXTERNALIZABLE != 0;
        let has_form = if writes_itself { flag::BLOCK_DATA } else { flag::SERIALIZABLE };
        let is_one = class.flags & has_form != 0 && class.flags & flag::ENUM == 0;
        if !is_one && class.interfaces.is_none() {
            return Err(self.refused(Cause::Flags).number_read(class.flags.into()));
        }
        self.enter()?;
        self.object_of(class, anchor)?;
        let classes = class.parts();
        if classes.len() != object.parts.len() {
            return Err(self.refused(Cause::OtherType));
        }
        for (class, part) in classes.into_iter().zip(&object.parts) {
            let fields = if writes_itself { &[] } else { class.fields.as_slice() };
            if fields.len() != part.fields.len() {
                return Err(self.refused(Cause::OtherType));
            }
            for (field, value) in fields.iter().zip(&part.fields) {
                match (field.primitive(), number(value)) {
                    (Some(wanted), Some((primitive, bits))) if primitive == wanted => {
                        self.bits(primitive, bits);
                    }
                    (Some(_), _) => return Err(self.refused(Cause::OtherType)),
                    (None, _) => self.value(value)?,
                }
            }
            if writes_itself || class.flags & flag::WRITE_METHOD != 0 {
                part.annotation.iter().try_for_each(|content| self.content(content))?;
                self.out.push(code::END);
            } else if !part.annotation.is_empty() {
                return Err(self.refused(Cause::OtherType));
            }
        }
        self.leave();
        Ok(())
    }

    fn content(&mut self, content: &Content) -> Result<(), Error> {
        let block = match content {
            Content::Value(value) => return self.value(value),
            Content::Block(block) => block,
        };
        self.room(block.len())?;
        match u8::try_from(block.len()) {
            Ok(length) => self.out.extend([code::BLOCK, length]),
            Err(_) => {
                let length = i32::try_from(block.len()).map_err(|_| self.refused(Cause::Unwritable))?;
                self.out.push(code::LONG_BLOCK);
                self.out.extend(length.to_be_bytes());
            }
        }
        self.out.extend_from_slice(block);
        Ok(())
    }

    fn constant(&mut self, constant: &Enum, anchor: Option<u32>) -> Result<(), Error> {
        if constant.class.flags & flag::ENUM == 0 {
            return Err(self.refused(Cause::Flags).number_read(constant.class.flags.into()));
        }
        let key = (self.kind(&constant.class)?, self.kinds.text(&constant.constant));
        if let Some(&handle) = self.written.constants.get(&key) {
            self.again(handle, anchor);
            return Ok(());
        }
        self.out.push(code::ENUM);
        self.class(&constant.class)?;
        let handle = self.handle(anchor)?;
        self.written.constants.insert(key, handle);
        self.text(&constant.constant, None)
    }

    /// A number in its box. Java keeps those of small ones.
    fn boxed(&mut self, value: &Value, anchor: Option<u32>) -> Result<(), Error> {
        let Some((primitive, bits)) = number(value) else {
            return Err(self.refused(Cause::Unwritable));
        };
        let kept = match *value {
            Value::Short(it) => (-128..=127).contains(&it),
            Value::Int(it) => (-128..=127).contains(&it),
            Value::Long(it) => (-128..=127).contains(&it),
            Value::Char(it) => it <= 127,
            Value::Float(_) | Value::Double(_) => false,
            _ => true,
        };
        if let Some(&handle) = self.written.boxes.get(&(primitive, bits)).filter(|_| kept) {
            self.again(handle, anchor);
            return Ok(());
        }
        let class = self.named(primitive.boxed());
        let handle = self.object_of(&class, anchor)?;
        if kept {
            self.written.boxes.insert((primitive, bits), handle);
        }
        self.bits(primitive, bits);
        Ok(())
    }

    /// The low bits of a number, as many as its type has.
    fn bits(&mut self, primitive: Primitive, bits: u64) {
        let width = match primitive {
            Primitive::Void | Primitive::Boolean | Primitive::Byte => 1,
            Primitive::Char | Primitive::Short => 2,
            Primitive::Int | Primitive::Float => 4,
            Primitive::Long | Primitive::Double => 8,
        };
        let bytes = bits.to_be_bytes();
        self.out.extend(bytes.iter().skip(8 - width));
    }

    fn bytes(&mut self, bytes: &Arc<[u8]>, anchor: Option<u32>) -> Result<(), Error> {
        if self.begun(Primitive::Byte, bytes, anchor)? {
            self.out.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn numbers<T: Copy, const N: usize>(
        &mut self,
        primitive: Primitive,
        numbers: &Arc<[T]>,
        anchor: Option<u32>,
        bytes: fn(T) -> [u8; N],
    ) -> Result<(), Error> {
        if self.begun(primitive, numbers, anchor)? {
            self.out.extend(numbers.iter().flat_map(|number| bytes(*number)));
        }
        Ok(())
    }

    /// Begins an array of numbers, or refers to it where it was written before.
    fn begun<T>(
        &mut self,
        primitive: Primitive,
        array: &Arc<[T]>,
        anchor: Option<u32>,
    ) -> Result<bool, Error> {
        let address = Arc::as_ptr(array).cast::<u8>() as usize;
        if let Some(&handle) = self.written.shared.get(&address) {
            self.again(handle, anchor);
            return Ok(false);
        }
        self.room(size_of_val::<[T]>(array))?;
        let class = match primitive {
            Primitive::Boolean => "[Z",
            Primitive::Byte | Primitive::Void => "[B",
            Primitive::Char => "[C",
            Primitive::Short => "[S",
            Primitive::Int => "[I",
            Primitive::Long => "[J",
            Primitive::Float => "[F",
            Primitive::Double => "[D",
        };
        let class = self.named(class);
        let handle = self.array(&class, array.len(), anchor)?;
        self.written.shared.insert(address, handle);
        Ok(true)
    }

    /// The class of a name that there is here.
    fn named(&mut self, name: &'static str) -> Arc<Class> {
        Arc::clone(self.named.entry(name).or_insert_with(|| Arc::new(Class::named(name))))
    }

    /// The kind of a class, which does not extend too many.
    fn kind(&mut self, class: &Arc<Class>) -> Result<u32, Error> {
        if self.kinds.known(class).is_none() {
            limits::depth(class.chain().count(), self.limits, self.out.len())?;
        }
        Ok(self.kinds.class(class))
    }

    /// A class and what it extends.
    fn class(&mut self, class: &Arc<Class>) -> Result<(), Error> {
        self.kind(class)?;
        let mut next = Some(class);
        while let Some(class) = next {
            let kind = self.kinds.class(class);
            if let Some(&handle) = self.written.classes.get(&kind) {
                self.refer(handle);
                return Ok(());
            }
            if let Some(interfaces) = &class.interfaces {
                self.out.push(code::PROXY);
                let handle = self.handle(None)?;
                self.written.classes.insert(kind, handle);
                let count = u16::try_from(interfaces.len()).map_err(|_| self.refused(Cause::Unwritable))?;
                self.out.extend(u32::from(count).to_be_bytes());
                interfaces.iter().try_for_each(|name| self.name(name))?;
            } else {
                self.out.push(code::DESCRIPTOR);
                self.name(&class.name)?;
                self.out.extend(class.suid.to_be_bytes());
                let handle = self.handle(None)?;
                self.written.classes.insert(kind, handle);
                self.fields(class)?;
            }
            self.out.push(code::END);
            next = class.parent.as_ref();
        }
        self.null();
        Ok(())
    }

    fn fields(&mut self, class: &Class) -> Result<(), Error> {
        self.out.push(class.flags);
        let count = i16::try_from(class.fields.len()).map_err(|_| self.refused(Cause::Unwritable))?;
        self.out.extend(count.to_be_bytes());
        for field in &class.fields {
            let first = field.signature.units().next().and_then(|unit| u8::try_from(unit).ok());
            let first = first.ok_or(self.refused(Cause::Field))?;
            self.out.push(first);
            self.name(&field.name)?;
            match first {
                b'L' | b'[' => self.signature(&field.signature)?,
                code if Primitive::of_code(code).is_some() => {}
                _ => return Err(self.refused(Cause::Field)),
            }
        }
        Ok(())
    }

    fn signature(&mut self, signature: &Text) -> Result<(), Error> {
        let kind = self.kinds.text(signature);
        if let Some(&handle) = self.written.signatures.get(&kind) {
            self.refer(handle);
            return Ok(());
        }
        let next = self.next;
        self.text(signature, None)?;
        if self.next != next {
            self.written.signatures.insert(kind, next);
        }
        Ok(())
    }

    /// A text of its own, which nothing refers to.
    fn name(&mut self, name: &Text) -> Result<(), Error> {
        let bytes = utf::bytes(name);
        let length = u16::try_from(bytes.len()).map_err(|_| self.refused(Cause::Unwritable))?;
        self.out.extend(length.to_be_bytes());
        self.out.extend(bytes);
        Ok(())
    }

    /// The next handle, which is that of the anchor too.
    fn handle(&mut self, anchor: Option<u32>) -> Result<u32, Error> {
        let handle = self.next;
        self.next = handle.checked_add(1).ok_or(self.refused(Cause::Unwritable))?;
        self.anchored(anchor, handle);
        Ok(handle)
    }

    /// A reference to what stands before, where an anchor may be.
    fn again(&mut self, handle: u32, anchor: Option<u32>) {
        self.anchored(anchor, handle);
        self.refer(handle);
    }

    fn anchored(&mut self, anchor: Option<u32>, handle: u32) {
        if let Some(anchor) = anchor {
            self.written.anchors.insert(anchor, handle);
        }
    }

    fn refer(&mut self, handle: u32) {
        self.out.push(code::REFERENCE);
        self.out.extend(handle.to_be_bytes());
    }

    fn room(&self, n: usize) -> Result<(), Error> {
        limits::bytes(self.out.len().saturating_add(n), self.limits, self.out.len())
    }

    fn refused(&self, cause: Cause) -> Error {
        Error::new(cause, self.out.len())
    }
}

/// The type and the bits of a number.
fn number(value: &Value) -> Option<(Primitive, u64)> {
    Some(match *value {
        Value::Boolean(it) => (Primitive::Boolean, it.into()),
        Value::Byte(it) => (Primitive::Byte, i64::from(it).cast_unsigned()),
        Value::Char(it) => (Primitive::Char, it.into()),
        Value::Short(it) => (Primitive::Short, i64::from(it).cast_unsigned()),
        Value::Int(it) => (Primitive::Int, i64::from(it).cast_unsigned()),
        Value::Long(it) => (Primitive::Long, it.cast_unsigned()),
        Value::Float(it) => (Primitive::Float, u32::from_be_bytes(float(it)).into()),
        Value::Double(it) => (Primitive::Double, u64::from_be_bytes(double(it))),
        _ => return None,
    })
}

/// As the recorded Java writes it: every NaN is the same.
fn float(number: f32) -> [u8; 4] {
    let bits = if number.is_nan() { 0x7fc0_0000 } else { number.to_bits() };
    bits.to_be_bytes()
}

fn double(number: f64) -> [u8; 8] {
    let bits = if number.is_nan() { 0x7ff8_0000_0000_0000 } else { number.to_bits() };
    bits.to_be_bytes()
}
