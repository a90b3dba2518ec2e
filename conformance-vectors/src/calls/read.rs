//! From JSON to values.

use std::sync::Arc;

use fixp_codec::rpc::{Array, Call, Class, Classable, Reply, Text, Throwable, Type, Value as Java};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Unmade, names};
use crate::codec::Refusal;

/// The call of a form.
pub(crate) fn call_of(form: &Value) -> Result<Call, Unmade> {
    let mut types = Vec::new();
    let mut params = Vec::new();
    for param in list(field(form, "params")?)? {
        let declared = text(field(param, "type")?)?;
        if declared != "absent" {
            types.push(names::to_type(declared));
        }
        if !flag(param, "absent_value") {
            let name = param.get("actual").map_or(Ok(declared), text)?;
            params.push(value_of(name, field(param, "value")?)?);
        }
    }
    Ok(Call {
        interface: string(field(form, "interface")?)?,
        method: string(field(form, "method")?)?,
        types: (!flag(form, "types_null")).then_some(types),
        params: (!flag(form, "params_null")).then_some(params),
    })
}

/// The answer of a form.
pub(crate) fn reply_of(form: &Value) -> Result<Reply, Unmade> {
    let object = form.get("object").map(typed).transpose()?;
    let throwable = form.get("throwable").map(throwable).transpose()?;
    Ok(Reply {
        object: object.filter(|value| *value != Java::Null),
        throwable: throwable.as_ref().map(Throwable::to_value),
    })
}

/// A value with the name of its type.
fn typed(form: &Value) -> Result<Java, Unmade> {
    value_of(text(field(form, "type")?)?, field(form, "value")?)
}

/// The value of a type: `name` is that of its class, a primitive type for its box.
fn value_of(name: &str, form: &Value) -> Result<Java, Unmade> {
    if form.is_null() {
        return Ok(Java::Null);
    }
    if flag(form, "cycle") {
        return Err(Unmade::Skipped("a value that holds itself is not written".to_owned()));
    }
    Ok(match name {
        "boolean" | "Boolean" => read::<bool>(form)?.into(),
        "byte" | "Byte" => read::<i8>(form)?.into(),
        "short" | "Short" => read::<i16>(form)?.into(),
        "int" | "Integer" => read::<i32>(form)?.into(),
        "long" | "Long" => long(form)?.into(),
        "char" | "Character" => read::<u16>(form)?.into(),
        "float" | "Float" => float(form)?.into(),
        "double" | "Double" => double(form)?.into(),
        "String" => Java::from(string(form)?),
        "Class" => class_object(text(form)?).into(),
        "byte[]" => bytes(form)?.into(),
        "boolean[]" => items(form, read::<bool>)?.into(),
        "short[]" => items(form, read::<i16>)?.into(),
        "int[]" => items(form, read::<i32>)?.into(),
        "long[]" => items(form, long)?.into(),
        "char[]" => items(form, read::<u16>)?.into(),
        "float[]" => items(form, float)?.into(),
        "double[]" => items(form, double)?.into(),
        "String[]" => array(name, items(form, |item| Ok(Java::from(string(item)?)))?),
        _ if name.ends_with("[]") => array(name, items(form, typed)?),
        _ => object(name, form)?,
    })
}

/// Objects are written where their class says how in full: throwables, and what laxcus6 writes itself.
fn object(name: &str, form: &Value) -> Result<Java, Unmade> {
    if let Some(fields) = form.get("classable_fields_hex") {
        let classable = Classable { class: names::to_class(name).into(), fields: bytes(fields)?.into() };
        return Ok(Java::Classable(Box::new(classable)));
    }
    if form.get("class").is_some() {
        return Ok(throwable(form)?.to_value());
    }
    Err(Unmade::Skipped(format!("objects of class {name} are not written")))
}

/// A throwable that its minimal form says in full.
fn throwable(form: &Value) -> Result<Throwable, Unmade> {
    let cause = Some(field(form, "cause")?).filter(|cause| !cause.is_null());
    let throwable = Throwable {
        class: text(field(form, "class")?)?.into(),
        message: string(field(form, "message")?)?,
        cause: cause.map(throwable_in).transpose()?,
        trace: Vec::new(),
    };
    let bare = form.get("stack").is_none_or(|stack| *stack == 0) && form.get("suppressed").is_none();
    if bare && Throwable::of(&throwable.to_value()).as_ref() == Some(&throwable) {
        return Ok(throwable);
    }
    Err(Unmade::Skipped("throwables are written with class, message and cause, if known".to_owned()))
}

fn throwable_in(form: &Value) -> Result<Box<Throwable>, Unmade> {
    throwable(form).map(Box::new)
}

/// A class object is named as Java does it.
fn class_object(name: &str) -> Type {
    match fixp_codec::rpc::Primitive::named(name) {
        Some(primitive) => Type::Primitive(primitive),
        None => Type::class(name),
    }
}

fn array(name: &str, items: Vec<Java>) -> Java {
    Java::Array(Box::new(Array { class: Arc::new(Class::named(names::to_class(name))), items }))
}

fn string(form: &Value) -> Result<Option<Text>, Unmade> {
    if form.is_null() {
        return Ok(None);
    }
    let Some(digits) = form.get("utf16_hex") else { return Ok(Some(text(form)?.into())) };
    let bytes = bytes(digits)?;
    let units: Vec<u16> = bytes.as_chunks().0.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
    Ok(Some(Text::from_utf16(&units)))
}

fn long(form: &Value) -> Result<i64, Unmade> {
    match form.as_str() {
        Some(digits) => digits.parse().map_err(|_| refused(format!("not a long: {digits}"))),
        None => read(form),
    }
}

fn float(form: &Value) -> Result<f32, Unmade> {
    let bits =
        <[u8; 4]>::try_from(bytes(form)?).map_err(|_| refused("a float is eight hex digits".to_owned()))?;
    Ok(f32::from_be_bytes(bits))
}

fn double(form: &Value) -> Result<f64, Unmade> {
    let bits = <[u8; 8]>::try_from(bytes(form)?)
        .map_err(|_| refused("a double is sixteen hex digits".to_owned()))?;
    Ok(f64::from_be_bytes(bits))
}

fn bytes(form: &Value) -> Result<Vec<u8>, Unmade> {
    Ok(crate::testee::bytes(text(form)?)?)
}

fn items<T>(form: &Value, item: fn(&Value) -> Result<T, Unmade>) -> Result<Vec<T>, Unmade> {
    list(form)?.iter().map(item).collect()
}

fn list(form: &Value) -> Result<&Vec<Value>, Unmade> {
    form.as_array().ok_or_else(|| refused(format!("not a list: {form:.40}")))
}

fn text(form: &Value) -> Result<&str, Unmade> {
    form.as_str().ok_or_else(|| refused(format!("not a text: {form:.40}")))
}

fn field<'a>(form: &'a Value, name: &str) -> Result<&'a Value, Unmade> {
    form.get(name).ok_or_else(|| refused(format!("{name} is missing")))
}

fn flag(form: &Value, name: &str) -> bool {
    form.get(name) == Some(&Value::Bool(true))
}

fn read<T: DeserializeOwned>(form: &Value) -> Result<T, Unmade> {
    T::deserialize(form).map_err(|error| refused(error.to_string()))
}

fn refused(detail: String) -> Unmade {
    Unmade::Refused(Refusal { kind: "bad-value", detail })
}
