//! Where the input comes from: an argument, a file, standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{ValueEnum, ValueHint};
use fixp_codec::Limits;

use crate::failure::Failure;
use crate::hex_text;

/// The arguments of a command that reads something.
#[derive(Debug, clap::Args)]
pub(crate) struct Input {
    /// What to read: the thing itself, a file, @FILE, or - for standard input
    #[arg(value_name = "INPUT", value_hint = ValueHint::AnyPath)]
    words: Vec<String>,

    /// Read this file
    #[arg(long, value_name = "FILE", conflicts_with = "words")]
    file: Option<PathBuf>,

    /// Read no more than this many bytes; 64K, 256M and 1G are understood
    #[arg(long, value_name = "N", default_value = "256M", value_parser = byte_count)]
    max_bytes: u64,
}

/// The arguments of a command that reads bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct BytesInput {
    #[command(flatten)]
    input: Input,

    /// What a file or standard input holds; auto: hex if it looks like hex
    #[arg(long = "input", value_name = "FORM", value_enum, default_value = "auto")]
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Form {
    Auto,
    Hex,
    Raw,
}

/// So much is read where nobody says otherwise.
const MAX_BYTES: u64 = 256 << 20;

/// The bytes that a word of the arguments stands for: hex, a file, @FILE, or - for standard input.
pub(crate) fn bytes_of(word: &str) -> Result<Vec<u8>, Failure> {
    let input = Input { words: vec![word.to_owned()], file: None, max_bytes: MAX_BYTES };
    BytesInput { input, form: Form::Auto }.read()
}

/// The text that a word of the arguments is: itself, @FILE, or - for standard input.
pub(crate) fn text_of(word: &str) -> Result<Vec<u8>, Failure> {
    Input { words: vec![word.to_owned()], file: None, max_bytes: MAX_BYTES }.read()
}

/// The bytes of a file.
pub(crate) fn file(path: &str) -> Result<Vec<u8>, Failure> {
    let input = Input { words: Vec::new(), file: Some(path.into()), max_bytes: MAX_BYTES };
    input.read()
}

/// What was read.
enum Content {
    Argument(String),
    Read(Vec<u8>),
}

impl BytesInput {
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        match self.input.content()? {
            Content::Argument(text) => hex_text::parse(text.as_bytes()).map_err(Failure::Argument),
            Content::Read(content) if self.is_hex(&content) => {
                hex_text::parse(&content).map_err(Failure::Hex)
            }
            Content::Read(content) => Ok(content),
        }
    }

    /// The limits of a reader of this input: all of it is in memory by then, so what it holds need not be bounded again.
    pub(crate) fn limits(&self) -> Limits {
        let all = usize::try_from(self.input.max_bytes).unwrap_or(usize::MAX);
        Limits { head: all, entity: all, ..Limits::default() }
    }

    fn is_hex(&self, content: &[u8]) -> bool {
        match self.form {
            Form::Auto => hex_text::looks_like_hex(content),
            form => form == Form::Hex,
        }
    }
}

impl Input {
    /// The input as it is.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        Ok(match self.content()? {
            Content::Argument(text) => text.into_bytes(),
            Content::Read(content) => content,
        })
    }

    /// The JSON of packets.
    pub(crate) fn json(&self) -> Result<Vec<u8>, Failure> {
        match self.content()? {
            // Whoever gives a word means a file, and should not read what is wrong with it as JSON.
            Content::Argument(text) if !text.trim_start().starts_with(['{', '[']) => {
                let error =
                    io::Error::new(io::ErrorKind::NotFound, "there is no such file, and it is no JSON");
                Err(Failure::Input { name: text, error })
            }
            Content::Argument(text) => Ok(text.into_bytes()),
            Content::Read(content) => Ok(content),
        }
    }

    fn content(&self) -> Result<Content, Failure> {
        match (self.words.as_slice(), &self.file) {
            (_, Some(file)) => self.file(file),
            ([word], None) => match word.strip_prefix('@') {
                _ if word == "-" => self.standard_input(),
                Some(file) => self.file(Path::new(file)),
                None if is_file(Path::new(word)) => self.file(Path::new(word)),
                None => Ok(Content::Argument(word.clone())),
            },
            ([], None) if io::stdin().is_terminal() => Err(Failure::Usage(
                "nothing to read: give INPUT, a file, or - for standard input (see --help)".to_owned(),
            )),
            ([], None) => self.standard_input(),
            // Hex in groups, without quotes.
            (words, None) => Ok(Content::Argument(words.join(" "))),
        }
    }

    fn file(&self, path: &Path) -> Result<Content, Failure> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => self.bounded(file, name),
            Err(error) => Err(Failure::Input { name, error }),
        }
    }

    fn standard_input(&self) -> Result<Content, Failure> {
        self.bounded(io::stdin().lock(), "standard input".to_owned())
    }

    fn bounded(&self, from: impl Read, name: String) -> Result<Content, Failure> {
        let mut content = Vec::new();
        // One byte more tells a longer input from one that is just as long as it may be.
        let read = from.take(self.max_bytes.saturating_add(1)).read_to_end(&mut content);
        match read {
            Ok(length) if length as u64 > self.max_bytes => {
                Err(Failure::TooLong { name, limit: self.max_bytes })
            }
            Ok(_) => Ok(Content::Read(content)),
            Err(error) => Err(Failure::Input { name, error }),
        }
    }
}

/// A pipe of the shell's `<(...)` is one too.
fn is_file(path: &Path) -> bool {
    path.exists() && !path.is_dir()
}

/// `268435456`, `256M`.
pub(crate) fn byte_count(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.as_bytes() {
        [.., b'k' | b'K'] => (&text[..text.len() - 1], 1 << 10),
        [.., b'm' | b'M'] => (&text[..text.len() - 1], 1 << 20),
        [.., b'g' | b'G'] => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_u64),
    };
    let number: u64 =
        number.parse().map_err(|_| "not a number of bytes, such as 1000, 64K, 256M or 1G".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "more bytes than can be counted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes_are_read() {
        assert_eq!(byte_count("0"), Ok(0));
        assert_eq!(byte_count("64k"), Ok(65536));
        assert_eq!(byte_count("256M"), Ok(256 << 20));
        assert_eq!(byte_count("1G"), Ok(1 << 30));
        for text in ["", "M", "-1", "1.5M", "1T", "99999999999G"] {
            assert!(byte_count(text).is_err(), "{text}");
        }
    }
}
