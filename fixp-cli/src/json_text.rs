//! JSON in and out: values one after another, errors at their byte, and a form that is pleasant to read.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Serializer;
use serde_json::error::Category;
use serde_json::ser::Formatter;

/// Why a text is not the JSON that it should be.
#[derive(Debug)]
pub(crate) struct BadJson {
    offset: usize,
    /// Line and column, counted from 1.
    place: Option<(usize, usize)>,
    what: String,
}

/// The JSON values of a text, white space or nothing between them, each with the offset of its first byte.
pub(crate) fn values<T: DeserializeOwned>(text: &[u8]) -> impl Iterator<Item = Result<(usize, T), BadJson>> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<T>();
    std::iter::from_fn(move || {
        let behind = values.byte_offset();
        let rest = text.get(behind..).unwrap_or_default();
        let begin = behind + (rest.len() - rest.trim_ascii_start().len());
        values
            .next()
            .map(|value| value.map(|value| (begin, value)).map_err(|error| BadJson::new(text, begin, &error)))
    })
}

impl BadJson {
    /// There is no value at all.
    pub(crate) fn nothing() -> Self {
        Self { offset: 0, place: None, what: "there is nothing".to_owned() }
    }

    fn new(text: &[u8], begin: usize, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let sentence = error.to_string();
        if line == 0 {
            // The value was read as a whole before it was refused.
            return Self { offset: begin, place: None, what: sentence };
        }
        let place = format!(" at line {line} column {column}");
        let what = sentence.strip_suffix(&place).unwrap_or(&sentence).to_owned();
        let before: usize =
            text.split_inclusive(|&byte| byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
        // The column counts the byte that is wrong, if there is one.
        let wrong = usize::from(error.classify() != Category::Eof);
        Self { offset: before + column.saturating_sub(wrong), place: Some((line, column.max(1))), what }
    }
}

impl fmt::Display for BadJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad-json at byte {}", self.offset)?;
        if let Some((line, column)) = self.place {
            write!(f, " (line {line}, column {column})")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// How JSON is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// A value on a line, for machines.
    Line,
    /// The outer levels over several lines, each inner thing on one: a message, a field, a row.
    Readable,
}

/// Writes a value and the end of a line.
pub(crate) fn write(mut out: impl Write, value: &impl Serialize, layout: Layout) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut out, Text::new(layout)))?;
    out.write_all(b"\n")
}

/// So many levels are opened over several lines: the thing itself, and a list in it.
const OPEN: usize = 2;

struct Text {
    layout: Layout,
    depth: usize,
    is_empty: bool,
}

impl Text {
    const fn new(layout: Layout) -> Self {
        Self { layout, depth: 0, is_empty: true }
    }

    fn begin(&mut self, out: &mut (impl Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.is_empty = true;
        out.write_all(bracket)
    }

    fn end(&mut self, out: &mut (impl Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        let opened = self.is_open() && !self.is_empty;
        self.depth -= 1;
        self.is_empty = false;
        if opened {
            self.new_line(out)?;
        }
        out.write_all(bracket)
    }

    fn element(&mut self, out: &mut (impl Write + ?Sized), first: bool) -> io::Result<()> {
        self.is_empty = false;
        if !first {
            out.write_all(b",")?;
        }
        match self.layout {
            Layout::Readable if self.is_open() => self.new_line(out),
            Layout::Readable if !first => out.write_all(b" "),
            _ => Ok(()),
        }
    }

    fn is_open(&self) -> bool {
        self.layout == Layout::Readable && self.depth <= OPEN
    }

    fn new_line(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        out.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| out.write_all(b"  "))
    }
}

impl Formatter for Text {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.element(out, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.element(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(if self.layout == Layout::Readable { b": " } else { b":" })
    }

    /// JSON itself escapes the control characters below the space. Those from 7f to 9f would reach the terminal as they are,
    /// and a packet from a stranger could play with it.
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, control)) = rest.char_indices().find(|(_, character)| character.is_control()) {
            write!(out, "{}\\u{:04x}", &rest[..at], u32::from(control))?;
            rest = &rest[at + control.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn text(value: &Value, layout: Layout) -> String {
        let mut out = Vec::new();
        write(&mut out, value, layout).expect("memory does not fail");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn lists_are_opened_and_what_is_in_them_is_not() {
        let value = json!({"a": 1, "b": [{"c": [1, 2], "d": {}}, {}], "e": [], "f": {}});
        let readable = "{\n  \"a\": 1,\n  \"b\": [\n    {\"c\": [1, 2], \"d\": {}},\n    {}\n  ],\n  \"e\": [],\n  \"f\": {}\n}\n";
        assert_eq!(text(&value, Layout::Readable), readable);
        assert_eq!(
            text(&value, Layout::Line),
            "{\"a\":1,\"b\":[{\"c\":[1,2],\"d\":{}},{}],\"e\":[],\"f\":{}}\n"
        );
    }

    #[test]
    fn control_characters_do_not_get_through() {
        let value = json!("a\u{1b}\u{7f}\u{9b}31m\u{e9}");
        let line = text(&value, Layout::Line);
        assert_eq!(line, "\"a\\u001b\\u007f\\u009b31m\u{e9}\"\n");
        assert_eq!(serde_json::from_str::<Value>(&line).expect("still JSON"), value);
    }

    #[test]
    fn values_come_with_their_offsets_and_errors_with_their_byte() {
        let read = |text: &str| {
            let values: Result<Vec<_>, _> = values::<Value>(text.as_bytes()).collect();
            values.map_err(|bad| bad.to_string())
        };
        assert_eq!(read(" {}\n[1]{} "), Ok(vec![(1, json!({})), (4, json!([1])), (7, json!({}))]));
        assert_eq!(read(""), Ok(Vec::new()));
        assert_eq!(
            read("{}\n{\"a\":x}"),
            Err("bad-json at byte 8 (line 2, column 6): expected value".to_owned())
        );
        let cut = "bad-json at byte 4 (line 1, column 4): EOF while parsing an object".to_owned();
        assert_eq!(read("{\"a\""), Err(cut));
    }
}
