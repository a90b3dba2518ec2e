//! From values to JSON.

use std::collections::BTreeMap;

use fixp_codec::rpc::{Call, Content, Limits, Object, Part, Reply, Text, Throwable, Type, Value as Java};
use serde_json::{Map, Value, json};

use super::names;
use crate::codec::Refusal;

/// How much a form may hold, in characters and some for each value: what stands once in a stream of Java objects
/// and is referred to often is written out each time, and could become endless.
const SHOWN: usize = 64 << 20;

/// How deep values may stand in a form, what is referred to counted where it is written out.
const DEEP: usize = 2 * Limits::DEPTH;

/// How many bytes a number of any size may have: its digits cost the square of them.
const LONGEST_NUMBER: usize = 8192;

/// The form of a call.
pub(crate) fn call_form(call: &Call) -> Result<Value, Refusal> {
    let types = call.types.as_deref().unwrap_or_default();
    let values = call.params.as_deref().unwrap_or_default();
    let mut forms = Forms::of(values);
    let mut params = Vec::new();
    for index in 0..types.len().max(values.len()) {
        let declared = types.get(index).map_or_else(|| "absent".to_owned(), |ty| names::of_type(ty.as_ref()));
        params.push(match values.get(index) {
            None => json!({"type": declared, "value": null, "absent_value": true}),
            Some(value) => {
                let actual = forms.name(value);
                let mut form = json!({"type": declared, "value": forms.content(value)?});
                if actual != "null" && actual != boxed(&declared) {
                    form["actual"] = actual.into();
                }
                form
            }
        });
    }
    let mut form = json!({"interface": string(call.interface.as_ref()), "method": string(call.method.as_ref()), "params": params});
    if call.types.is_none() {
        form["types_null"] = true.into();
    }
    if call.params.is_none() {
        form["params_null"] = true.into();
    }
    Ok(form)
}

/// The form of an answer.
pub(crate) fn reply_form(reply: &Reply) -> Result<Value, Refusal> {
    let mut forms = Forms::of(reply.throwable.iter().chain(&reply.object));
    let mut form = Map::new();
    match (&reply.object, &reply.throwable) {
        (Some(object), _) => {
            form.insert("object".to_owned(), forms.typed(object)?);
        }
        (None, None) => {
            form.insert("object".to_owned(), json!({"type": "null", "value": null}));
        }
        (None, Some(_)) => {}
    }
    if let Some(value) = &reply.throwable {
        form.insert("throwable".to_owned(), forms.content(value)?);
    }
    Ok(Value::Object(form))
}

/// What is known while forms are made.
struct Forms<'a> {
    /// The values that aliases stand for.
    anchors: BTreeMap<u32, &'a Java>,
    /// The anchors around the value whose form is made.
    open: Vec<u32>,
    /// How many values are around it.
    depth: usize,
    /// How much the form may still hold.
    left: usize,
}

impl<'a> Forms<'a> {
    fn of(roots: impl IntoIterator<Item = &'a Java>) -> Self {
        let mut anchors = BTreeMap::new();
        roots.into_iter().for_each(|root| gather(root, &mut anchors));
        Self { anchors, open: Vec::new(), depth: 0, left: SHOWN }
    }

    /// A value with the name of its type.
    fn typed(&mut self, value: &'a Java) -> Result<Value, Refusal> {
        Ok(json!({"type": self.name(value), "value": self.content(value)?}))
    }

    fn list(&mut self, values: impl IntoIterator<Item = &'a Java>) -> Result<Value, Refusal> {
        values.into_iter().map(|value| self.typed(value)).collect()
    }

    /// The name of the class of a value; numbers count as boxed.
    fn name(&self, value: &Java) -> String {
        match value {
            Java::Null => "null",
            Java::Boolean(_) => "Boolean",
            Java::Byte(_) => "Byte",
            Java::Char(_) => "Character",
            Java::Short(_) => "Short",
            Java::Int(_) => "Integer",
            Java::Long(_) => "Long",
            Java::Float(_) => "Float",
            Java::Double(_) => "Double",
            Java::String(_) => "String",
            Java::Booleans(_) => "boolean[]",
            Java::Bytes(_) => "byte[]",
            Java::Chars(_) => "char[]",
            Java::Shorts(_) => "short[]",
            Java::Ints(_) => "int[]",
            Java::Longs(_) => "long[]",
            Java::Floats(_) => "float[]",
            Java::Doubles(_) => "double[]",
            Java::Class(_) => "Class",
            Java::Descriptor(_) => "java.io.ObjectStreamClass",
            Java::Array(array) => return names::of_class(&array.class.name.to_string()),
            Java::Enum(constant) => return names::of_class(&constant.class.name.to_string()),
            Java::Object(object) => return of_object(object),
            Java::Classable(classable) => return names::of_class(&classable.class.to_string()),
            Java::Anchor(_, value) => return self.name(value),
            Java::Alias(number) => {
                return self.anchors.get(number).map_or("null".to_owned(), |value| self.name(value));
            }
            _ => "unknown",
        }
        .to_owned()
    }

    /// A value without the name of its type.
    fn content(&mut self, value: &'a Java) -> Result<Value, Refusal> {
        self.left = self.left.checked_sub(size(value)).ok_or_else(too_much)?;
        if self.depth >= DEEP {
            return Err(too_much());
        }
        self.depth += 1;
        let content = self.content_here(value);
        self.depth -= 1;
        content
    }

    fn content_here(&mut self, value: &'a Java) -> Result<Value, Refusal> {
        Ok(match value {
            Java::Null => Value::Null,
            Java::Boolean(it) => (*it).into(),
            Java::Byte(it) => (*it).into(),
            Java::Char(it) => (*it).into(),
            Java::Short(it) => (*it).into(),
            Java::Int(it) => (*it).into(),
            Java::Long(it) => long(*it),
            Java::Float(it) => float(*it),
            Java::Double(it) => double(*it),
            Java::String(text) => string(Some(text)),
            Java::Booleans(items) => items.iter().copied().collect(),
            Java::Bytes(bytes) => hex::encode(bytes).into(),
            Java::Chars(items) => items.iter().copied().collect(),
            Java::Shorts(items) => items.iter().copied().collect(),
            Java::Ints(items) => items.iter().copied().collect(),
            Java::Longs(items) => items.iter().copied().map(long).collect(),
            Java::Floats(items) => items.iter().copied().map(float).collect(),
            Java::Doubles(items) => items.iter().copied().map(double).collect(),
            Java::Array(array) => {
                if array.class.name == "[Ljava.lang.String;" {
                    array.items.iter().map(|item| self.content(item)).collect::<Result<_, _>>()?
                } else {
                    self.list(&array.items)?
                }
            }
            Java::Class(ty) => class_name(ty).into(),
            Java::Descriptor(class) => {
                json!({"text": format!("{}: static final long serialVersionUID = {}L;", class.name, class.suid)})
            }
            Java::Enum(constant) => string(Some(&constant.constant)),
            Java::Object(object) => self.object(value, object)?,
            Java::Classable(classable) => json!({"classable_fields_hex": hex::encode(&classable.fields)}),
            Java::Anchor(number, value) => {
                self.open.push(*number);
                let content = self.content(value);
                self.open.pop();
                content?
            }
            Java::Alias(number) if self.open.contains(number) => json!({"cycle": true}),
            Java::Alias(number) => match self.anchors.get(number) {
                Some(value) => self.content(value)?,
                None => Value::Null,
            },
            _ => Value::Null,
        })
    }

    fn object(&mut self, value: &'a Java, object: &'a Object) -> Result<Value, Refusal> {
        if let Some(throwable) = Throwable::of(value) {
            let mut form = throwable_form(&throwable);
            if let Some(Java::Object(suppressed)) = object.field("suppressedExceptions").map(Java::unanchored)
                && let Some(Java::Int(count @ 1..)) = suppressed.field("size")
            {
                form["suppressed"] = (*count).into();
            }
            return Ok(form);
        }
        let name = object.class.name.as_str().unwrap_or_default();
        Ok(match (name, &*written(object), &*blocks(object)) {
            ("java.util.ArrayList" | "java.util.LinkedList" | "java.util.HashSet", values, _) => {
                self.list(values.iter().copied())?
            }
            ("java.util.Arrays$ArrayList", ..) => match object.field("a").map(Java::unanchored) {
                Some(Java::Array(array)) => self.list(&array.items)?,
                _ => Value::Null,
            },
            ("java.util.Vector", ..) => {
                match (object.field("elementData").map(Java::unanchored), object.field("elementCount")) {
                    (Some(Java::Array(array)), Some(Java::Int(count))) => {
                        self.list(array.items.iter().take(usize::try_from(*count).unwrap_or(0)))?
                    }
                    _ => Value::Null,
                }
            }
            ("java.util.HashMap" | "java.util.LinkedHashMap" | "java.util.TreeMap", values, _) => {
                values.chunks(2).map(|pair| self.list(pair.iter().copied())).collect::<Result<_, _>>()?
            }
            ("java.util.Date", _, block) if block.len() == 8 => {
                let ms = block.try_into().map_or(0, i64::from_be_bytes);
                json!({"ms": long(ms)})
            }
            ("java.lang.StringBuilder", &[Java::Chars(units)], &[a, b, c, d]) => {
                let count = u32::from_be_bytes([a, b, c, d]) as usize;
                string(Some(&Text::from_utf16(units.get(..count).unwrap_or(units))))
            }
            ("java.util.UUID", ..) => match (object.field("mostSigBits"), object.field("leastSigBits")) {
                (Some(Java::Long(high)), Some(Java::Long(low))) => uuid(*high, *low).into(),
                _ => Value::Null,
            },
            ("java.math.BigInteger", ..) => {
                match (object.field("signum"), object.field("magnitude").map(Java::unanchored)) {
                    (_, Some(Java::Bytes(magnitude))) if magnitude.len() > LONGEST_NUMBER => {
                        return Err(too_much());
                    }
                    (Some(Java::Int(sign)), Some(Java::Bytes(magnitude))) => decimal(*sign, magnitude).into(),
                    _ => Value::Null,
                }
            }
            _ => {
                let mut fields = Map::new();
                for (class, part) in object.parts() {
                    for (field, value) in class.fields.iter().zip(&part.fields) {
                        fields.insert(field.name.to_string(), self.typed(value)?);
                    }
                }
                json!({ "fields": fields })
            }
        })
    }
}

/// Finds the anchors in a value.
fn gather<'a>(value: &'a Java, anchors: &mut BTreeMap<u32, &'a Java>) {
    match value {
        Java::Anchor(number, value) => {
            anchors.insert(*number, value);
            gather(value, anchors);
        }
        Java::Array(array) => array.items.iter().for_each(|item| gather(item, anchors)),
        Java::Object(object) => {
            let fields = object.parts.iter().flat_map(|part| &part.fields);
            fields.chain(written(object)).for_each(|value| gather(value, anchors));
        }
        _ => {}
    }
}

/// What the form of a value takes, those in it not counted.
fn size(value: &Java) -> usize {
    256 + match value {
        Java::String(text) => text.units().count(),
        Java::Booleans(items) => 8 * items.len(),
        Java::Bytes(bytes) => 2 * bytes.len(),
        Java::Chars(items) => 8 * items.len(),
        Java::Shorts(items) => 8 * items.len(),
        Java::Ints(items) => 16 * items.len(),
        Java::Longs(items) => 24 * items.len(),
        Java::Floats(items) => 16 * items.len(),
        Java::Doubles(items) => 24 * items.len(),
        Java::Classable(classable) => 2 * classable.fields.len(),
        Java::Object(object) => blocks(object).len(),
        _ => 0,
    }
}

fn too_much() -> Refusal {
    Refusal { kind: "limit", detail: format!("the form takes more than {SHOWN} bytes or {DEEP} levels") }
}

fn of_object(object: &Object) -> String {
    match &object.class.interfaces {
        Some(_) => "proxy".to_owned(),
        None => names::of_class(&object.class.name.to_string()),
    }
}

/// The values that the classes of an object wrote themselves.
fn written(object: &Object) -> Vec<&Java> {
    annotations(object)
        .filter_map(|content| match content {
            Content::Value(value) => Some(value),
            Content::Block(_) => None,
        })
        .collect()
}

/// The bytes that they wrote themselves.
fn blocks(object: &Object) -> Vec<u8> {
    annotations(object)
        .filter_map(|content| match content {
            Content::Block(bytes) => Some(&**bytes),
            Content::Value(_) => None,
        })
        .flatten()
        .copied()
        .collect()
}

fn annotations(object: &Object) -> impl Iterator<Item = &Content> {
    object.parts.iter().flat_map(|Part { annotation, .. }| annotation)
}

fn throwable_form(throwable: &Throwable) -> Value {
    json!({
        "class": throwable.class.to_string(),
        "message": string(throwable.message.as_ref()),
        "cause": throwable.cause.as_deref().map(throwable_form),
        "stack": throwable.trace.len(),
    })
}

fn class_name(ty: &Type) -> String {
    ty.name().to_string()
}

/// The class of the box of a primitive type; another type is its own.
fn boxed(declared: &str) -> &str {
    match declared {
        "boolean" => "Boolean",
        "byte" => "Byte",
        "char" => "Character",
        "short" => "Short",
        "int" => "Integer",
        "long" => "Long",
        "float" => "Float",
        "double" => "Double",
        other => other,
    }
}

/// A text, in UTF-16 where it is none.
fn string(text: Option<&Text>) -> Value {
    match text.map(|text| (text, text.as_str())) {
        None => Value::Null,
        Some((_, Some(text))) => text.into(),
        Some((text, None)) => {
            let units: String = text.units().map(|unit| format!("{unit:04x}")).collect();
            json!({ "utf16_hex": units })
        }
    }
}

/// A number, as text where JSON of most languages would round it.
fn long(number: i64) -> Value {
    const EXACT: u64 = 1 << 53;
    if number.unsigned_abs() <= EXACT { number.into() } else { number.to_string().into() }
}

fn float(number: f32) -> Value {
    format!("{:08x}", number.to_bits()).into()
}

fn double(number: f64) -> Value {
    format!("{:016x}", number.to_bits()).into()
}

fn uuid(high: i64, low: i64) -> String {
    let digits = format!("{high:016x}{low:016x}");
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// A number of any size, whose magnitude has its first byte first.
fn decimal(sign: i32, magnitude: &[u8]) -> String {
    // Nine decimal digits each, the lowest first.
    let mut groups = vec![0_u64];
    for byte in magnitude {
        let mut carry = u64::from(*byte);
        for group in &mut groups {
            let value = *group * 256 + carry;
            (*group, carry) = (value % 1_000_000_000, value / 1_000_000_000);
        }
        if carry > 0 {
            groups.push(carry);
        }
    }
    let mut digits: String = groups.iter().rev().map(|group| format!("{group:09}")).collect();
    digits.drain(..digits.len() - digits.trim_start_matches('0').len().max(1));
    if sign < 0 { format!("-{digits}") } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_by_reference_is_refused() {
        // Arrays of which each holds the one before twice.
        let pair = |number| Java::objects(vec![Java::Alias(number), Java::Alias(number)]);
        let anchor = |number, value| Java::Anchor(number, Box::new(value));
        let first = anchor(0, Java::objects(Vec::new()));
        let doubled = (0..40).map(|number| anchor(number + 1, pair(number)));
        let values = std::iter::once(first).chain(doubled).collect();
        let refused = reply_form(&Reply::returned(Java::objects(values)));
        assert_eq!(refused.map_err(|refusal| refusal.kind), Err("limit"));
        // And one that leads to another, and so on.
        let chain = (0..100_000).map(|number| anchor(number + 1, Java::objects(vec![Java::Alias(number)])));
        let mut values: Vec<Java> = chain.collect();
        values.reverse();
        let refused = reply_form(&Reply::returned(Java::objects(values)));
        assert_eq!(refused.map_err(|refusal| refusal.kind), Err("limit"));
        // The same text, a thousand times.
        let text = Text::from("x".repeat(1 << 20));
        let refused = reply_form(&Reply::returned(Java::objects(vec![text.into(); 1000])));
        assert_eq!(refused.map_err(|refusal| refusal.kind), Err("limit"));
    }

    #[test]
    fn numbers_of_any_size_are_decimal() {
        for (sign, magnitude, digits) in [
            (0, &[][..], "0"),
            (1, &[9], "9"),
            (-1, &[1, 0], "-256"),
            (1, &[0x3b, 0x9a, 0xca, 0x00], "1000000000"),
            (1, &[0xff; 16], "340282366920938463463374607431768211455"),
        ] {
            assert_eq!(decimal(sign, magnitude), digits);
        }
    }
}
