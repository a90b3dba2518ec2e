//! The vector files: those that travel inside this crate, and others.

use std::collections::HashMap;
use std::fmt;

use crate::vector::Vector;

/// A vector file: JSON Lines, one vector a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// The file's name, `laxcus6.jsonl`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The vector files of this crate. They are part of the program, so a test needs no path and no network.
pub fn files() -> &'static [File] {
    FILES
}

/// All vectors of this crate, in the order of the files.
///
/// # Errors
///
/// Those of [`parse`], and [`LoadError::Duplicate`] for an id that stands twice.
pub fn all() -> Result<Vec<Vector>, LoadError> {
    parse_all(FILES.iter().map(|file| (file.name, file.text)))
}

/// The vectors of one file. `name` is for the messages of errors. Empty lines are passed over.
///
/// # Errors
///
/// [`LoadError::Line`] with the number of the line that is not a vector.
pub fn parse(name: &str, text: &str) -> Result<Vec<Vector>, LoadError> {
    let mut vectors = Vec::new();
    each_line(name, text, |_, vector| {
        vectors.push(vector);
        Ok(())
    })?;
    Ok(vectors)
}

/// The vectors of several files, given as name and text, which together must not use an id twice.
///
/// # Errors
///
/// Those of [`parse`], and [`LoadError::Duplicate`] for an id that stands twice.
pub fn parse_all<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<Vector>, LoadError> {
    let mut vectors = Vec::new();
    let mut places: HashMap<String, (&str, usize)> = HashMap::new();
    for (name, text) in files {
        each_line(name, text, |line, vector| {
            if let Some((first_file, first_line)) = places.insert(vector.id.clone(), (name, line)) {
                return Err(LoadError::Duplicate {
                    id: vector.id,
                    file: name.to_owned(),
                    line,
                    first_file: first_file.to_owned(),
                    first_line,
                });
            }
            vectors.push(vector);
            Ok(())
        })?;
    }
    Ok(vectors)
}

/// Why vectors could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// A line is not a vector.
    Line {
        /// The name of the file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// An id stands twice.
    Duplicate {
        /// The id.
        id: String,
        /// The file of the second one.
        file: String,
        /// The line of the second one, counted from 1.
        line: usize,
        /// The file of the first one.
        first_file: String,
        /// The line of the first one, counted from 1.
        first_line: usize,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line, detail } => write!(f, "{file}:{line}: {detail}"),
            Self::Duplicate { id, file, line, first_file, first_line } => {
                write!(f, "{file}:{line}: the id {id} stands already at {first_file}:{first_line}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

macro_rules! vector_files {
    ($($name:literal),+ $(,)?) => {
        &[$(File { name: $name, text: include_str!(concat!("../vectors/", $name)) }),+]
    };
}

const FILES: &[File] = vector_files![
    "lexst1.jsonl",
    "laxcus6.jsonl",
    "laxcus2.jsonl",
    "streams.jsonl",
    "bombs.jsonl",
    "laxcus6-cipher.jsonl",
    "rpc-laxcus6.jsonl",
    "rpc-lexst1.jsonl",
];

/// Hands every vector of a file on, with the number of its line.
fn each_line(
    name: &str,
    text: &str,
    mut take: impl FnMut(usize, Vector) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let vector = serde_json::from_str(line).map_err(|error| LoadError::Line {
            file: name.to_owned(),
            line: index + 1,
            detail: in_column(&error),
        })?;
        take(index + 1, vector)?;
    }
    Ok(())
}

/// The message of an error in one line of JSON: serde_json counts the line as line 1, which would contradict
/// the file's own count.
fn in_column(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&position) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"id":"a","dialect":"a","kind":"note","class":"note","rules":[],"source":"","map":[],"comment":""}"#;

    #[test]
    fn a_bad_line_is_named() {
        let text = format!("{LINE}\n\n{{\"id\":\"b\"}}\n");
        let error = parse("x.jsonl", &text).expect_err("the third line has no dialect");
        assert!(error.to_string().starts_with("x.jsonl:3: missing field `dialect` (column "), "{error}");
    }

    #[test]
    fn an_id_that_stands_twice_is_refused_over_files() {
        let error = parse_all([("x", LINE), ("y", LINE)]).expect_err("twice");
        assert_eq!(error.to_string(), "y:1: the id a stands already at x:1");
    }

    #[test]
    fn an_empty_file_has_no_vectors() {
        assert_eq!(parse("x", ""), Ok(Vec::new()));
    }
}
