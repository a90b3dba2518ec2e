//! Where the report of a run goes, and in which form.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use clap::ValueEnum;
use conformance_vectors::report::Report;

use crate::failure::Failure;
use crate::json_text::{self, Layout};
use crate::output;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Format {
    // For people.
    Text,
    // One JSON object.
    Json,
    // JUnit's XML, for continuous integration.
    Junit,
}

/// Where a report goes.
pub(super) struct Sink {
    format: Format,
    file: Option<(String, File)>,
}

impl Sink {
    /// Opens the file before the run: nobody should wait for a report that cannot be written.
    pub(super) fn open(format: Format, file: Option<&Path>) -> Result<Self, Failure> {
        let open = |path: &Path| {
            let name = path.display().to_string();
            // What stands there is replaced only when there is a report.
            match OpenOptions::new().write(true).create(true).truncate(false).open(path) {
                Ok(file) => Ok((name, file)),
                Err(error) => Err(Failure::File { name, error }),
            }
        };
        Ok(Self { format, file: file.map(open).transpose()? })
    }

    pub(super) fn write(self, report: &Report) -> Result<(), Failure> {
        let Some((name, file)) = self.file else { return print(report, self.format) };
        let replaced = |file: &File| if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) };
        replaced(&file)
            .and_then(|()| {
                let mut file = BufWriter::new(&file);
                write(&mut file, report, self.format, false)?;
                file.flush()
            })
            .map_err(|error| Failure::File { name, error })?;
        print(report, Format::Text)
    }
}

fn print(report: &Report, format: Format) -> Result<(), Failure> {
    let mut out = output::stdout();
    output::quietly(write(&mut out, report, format, output::is_colored()).and_then(|()| out.flush()))
}

fn write(mut out: impl Write, report: &Report, format: Format, color: bool) -> io::Result<()> {
    match format {
        Format::Text => out.write_all(report.text(color).as_bytes()),
        Format::Json => json_text::write(out, &report.json(), Layout::Readable),
        Format::Junit => out.write_all(report.junit().as_bytes()),
    }
}
