//! lexst1: a call is an object `com.lexst.remote.Apply`, an answer one of `com.lexst.remote.Reply`, by Java
//! object serialization (SPEC 12.37, 12.38).
//!
//! ```
//! use fixp_codec::rpc::{Call, Reply, Throwable, Type, Value, lexst1};
//!
//! let call = Call::new("demo.EchoVisit", "add").with(Type::INT, 2).with(Type::INT, 40);
//! let wire = lexst1::encode_call(&call)?;
//! assert_eq!(lexst1::decode_call(&wire)?, call);
//!
//! let failed = Reply::threw(&Throwable::new("java.lang.RuntimeException", "boom"));
//! let wire = lexst1::encode_reply(&failed)?;
//! let read = lexst1::decode_reply(&wire)?;
//! let thrown = Throwable::of(read.throwable.as_ref().unwrap()).unwrap();
//! assert_eq!(thrown.to_string(), "java.lang.RuntimeException: boom");
//! # Ok::<(), fixp_codec::rpc::Error>(())
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::java::{Stream, Writer};
use super::limits::Budget;
use super::{Array, Call, Cause, Class, Error, Limits, Object, Reply, Text, Throwable, Type, Value, flag};

/// The class of a call and its number.
const APPLY: (&str, i64) = ("com.lexst.remote.Apply", 0x557c_be46_6bbb_b612);

/// The class of an answer and its number.
const REPLY: (&str, i64) = ("com.lexst.remote.Reply", 0x7f4f_817f_ad55_76e9);

const TYPES: &str = "[Ljava.lang.Class;";
const OBJECTS: &str = "[Ljava.lang.Object;";

/// Reads a call. Bytes behind it are not looked at, as the real program does not.
pub fn decode_call(input: &[u8]) -> Result<Call, Error> {
    decode_call_within(input, &Limits::default())
}

/// Reads a call within limits of one's own.
pub fn decode_call_within(input: &[u8], limits: &Limits) -> Result<Call, Error> {
    let mut fields = Fields::read(input, limits, APPLY)?;
    Ok(Call {
        interface: fields.text("interfaceName")?,
        method: fields.text("methodName")?,
        types: fields.types("paramTypes")?,
        params: fields.values("params")?,
    })
}

/// Reads an answer. Bytes behind it are not looked at, as the real program does not.
pub fn decode_reply(input: &[u8]) -> Result<Reply, Error> {
    decode_reply_within(input, &Limits::default())
}

/// Reads an answer within limits of one's own.
pub fn decode_reply_within(input: &[u8], limits: &Limits) -> Result<Reply, Error> {
    let mut fields = Fields::read(input, limits, REPLY)?;
    Ok(Reply { throwable: fields.throwable("fatal")?, object: fields.value("object")? })
}

/// Writes a call.
pub fn encode_call(call: &Call) -> Result<Vec<u8>, Error> {
    encode_call_within(call, &Limits::default())
}

/// Writes a call within limits of one's own.
pub fn encode_call_within(call: &Call, limits: &Limits) -> Result<Vec<u8>, Error> {
    let class = Class::new(APPLY.0, APPLY.1, flag::SERIALIZABLE)
        .with("interfaceName", "Ljava/lang/String;")
        .with("methodName", "Ljava/lang/String;")
        .with("paramTypes", "[Ljava/lang/Class;")
        .with("params", "[Ljava/lang/Object;");
    let mut writer = Writer::new(limits);
    writer.enter()?;
    writer.object_of(&Arc::new(class), None)?;
    for text in [&call.interface, &call.method] {
        match text {
            Some(text) => writer.text(text, None)?,
            None => writer.null(),
        }
    }
    array(&mut writer, TYPES, call.types.as_deref(), |writer, ty| match ty {
        Some(ty) => writer.ty(ty, None),
        None => {
            writer.null();
            Ok(())
        }
    })?;
    array(&mut writer, OBJECTS, call.params.as_deref(), Writer::value)?;
    writer.finish()
}

/// Writes an answer.
pub fn encode_reply(reply: &Reply) -> Result<Vec<u8>, Error> {
    encode_reply_within(reply, &Limits::default())
}

/// Writes an answer within limits of one's own.
pub fn encode_reply_within(reply: &Reply, limits: &Limits) -> Result<Vec<u8>, Error> {
    let class = Class::new(REPLY.0, REPLY.1, flag::SERIALIZABLE)
        .with("fatal", "Ljava/lang/Throwable;")
        .with("object", "Ljava/lang/Object;");
    let mut writer = Writer::new(limits);
    writer.enter()?;
    writer.object_of(&Arc::new(class), None)?;
    for value in [&reply.throwable, &reply.object] {
        writer.value(value.as_ref().unwrap_or(&Value::Null))?;
    }
    writer.finish()
}

/// An array, or null.
fn array<'l, T>(
    writer: &mut Writer<'l>,
    class: &str,
    items: Option<&[T]>,
    write: fn(&mut Writer<'l>, &T) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(items) = items else {
        writer.null();
        return Ok(());
    };
    writer.enter()?;
    writer.array(&Arc::new(Class::named(class)), items.len(), None)?;
    items.iter().try_for_each(|item| write(writer, item))?;
    writer.leave();
    Ok(())
}

/// The fields of a call or an answer. One that the stream does not have is null, one that Java's class does
/// not have is of no interest.
struct Fields {
    object: Object,
    at: usize,
}

impl Fields {
    fn read(input: &[u8], limits: &Limits, (name, suid): (&str, i64)) -> Result<Self, Error> {
        let mut budget = Budget::new(limits);
        let (object, at) = Stream::new(input, &mut budget)?.root_object(|class, at| {
            if class.name != name {
                let is_there = [APPLY.0, REPLY.0].iter().any(|name| class.name == *name)
                    || class.name.as_str().is_some_and(|name| name.starts_with("java."));
                return Err(Error::new(if is_there { Cause::OtherClass } else { Cause::NoClass }, at));
            }
            if class.suid != suid {
                return Err(Error::new(Cause::OtherNumber, at));
            }
            if class.flags & (flag::SERIALIZABLE | flag::EXTERNALIZABLE) != flag::SERIALIZABLE {
                return Err(Error::new(Cause::Flags, at).number_read(class.flags.into()));
            }
            Ok(())
        })?;
        Ok(Self { object, at })
    }

    /// The value of a field, out of its place: the last of the name, as each is set in turn.
    fn take(&mut self, name: &str) -> Result<Value, Error> {
        let Some(field) = self.object.class.fields.iter().rposition(|field| field.name == name) else {
            return Ok(Value::Null);
        };
        if self.object.class.fields.get(field).is_some_and(|field| field.primitive().is_some()) {
            return Err(self.of_other_type());
        }
        let own = self.object.parts.last_mut().and_then(|part| part.fields.get_mut(field));
        Ok(own.map_or(Value::Null, |value| core::mem::replace(value, Value::Null)))
    }

    fn value(&mut self, name: &str) -> Result<Option<Value>, Error> {
        let value = self.take(name)?;
        Ok((value != Value::Null).then_some(value))
    }

    fn text(&mut self, name: &str) -> Result<Option<Text>, Error> {
        match self.take(name)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            _ => Err(self.of_other_type()),
        }
    }

    fn array(&mut self, name: &str) -> Result<Option<Array>, Error> {
        let value = match self.take(name)? {
            Value::Anchor(_, value) => *value,
            value => value,
        };
        match value {
            Value::Null => Ok(None),
            Value::Array(array) => Ok(Some(*array)),
            _ => Err(self.of_other_type()),
        }
    }

    fn values(&mut self, name: &str) -> Result<Option<Vec<Value>>, Error> {
        Ok(self.array(name)?.map(|array| array.items))
    }

    fn types(&mut self, name: &str) -> Result<Option<Vec<Option<Type>>>, Error> {
        let Some(array) = self.array(name)? else {
            return Ok(None);
        };
        if array.class.name != TYPES {
            return Err(self.of_other_type());
        }
        let types = array.items.into_iter().map(|item| match item {
            Value::Null => Ok(None),
            Value::Class(ty) => Ok(Some(ty)),
            _ => Err(Error::new(Cause::Element, self.at)),
        });
        types.collect::<Result<_, _>>().map(Some)
    }

    fn throwable(&mut self, name: &str) -> Result<Option<Value>, Error> {
        let value = self.take(name)?;
        match value.unanchored() {
            Value::Null => Ok(None),
            _ if Throwable::is(&value) => Ok(Some(value)),
            _ => Err(self.of_other_type()),
        }
    }

    const fn of_other_type(&self) -> Error {
        Error::new(Cause::OtherType, self.at)
    }
}
