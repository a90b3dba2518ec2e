//! `fixp call`: a method of a server of ours, arguments and result as JSON.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::ValueHint;
use conformance_vectors::exit::Exit;
use fixp_rpc::{Client, Format, Never};
use fixp_transport::Body;
use serde_json::value::RawValue;

use crate::exact_json::ExactJson;
use crate::failure::Failure;
use crate::input;
use crate::json_text::{self, BadJson, Layout};
use crate::peer::Peer;
use crate::{output, span};

const AFTER: &str = "\
The arguments are a JSON object of them by name, or an array of them in their
order; a method without arguments needs none. What the method returns is printed;
what it returns as its own error goes to standard error. Numbers go and come as
they are written. `fixp list` and `fixp describe` tell what there is to call.

What a method streams (`Body` in its description) comes from the file of --send,
and goes to that of --receive; what it returns beside its stream is printed.

Examples:
  fixp call 127.0.0.1:5000 Echo.echo '{\"text\":\"it works\"}'
  fixp call 127.0.0.1:5000 Echo.add '[2, 3]' --keep-udp
  fixp call 127.0.0.1:5000 Log.append @entry.json --timeout 2s
  fixp call 127.0.0.1:5000 Store.put '{\"name\":\"a\"}' --send a.bin
  fixp call 127.0.0.1:5000 Store.get '{\"name\":\"a\"}' --receive a.bin
  fixp call 127.0.0.1:5000 fixp.list

Exit codes:
  0  the method returned
  1  it returned an error of its own, or there is no result
  2  wrong arguments";

/// Call a method of a server, with arguments in JSON
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    #[command(flatten)]
    peer: Peer,

    /// Interface and method
    #[arg(value_name = "INTERFACE.METHOD")]
    method: String,

    /// The arguments: JSON, @FILE, or - for standard input [default: {}]
    #[arg(value_name = "ARGUMENTS")]
    arguments: Option<String>,

    /// How long the result may take
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = span::some_time)]
    timeout: Duration,

    /// Do not wait for the result, only for the server's word that it has taken the call
    #[arg(long, conflicts_with_all = ["send", "receive"])]
    one_way: bool,

    /// Stream this file to the method
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    send: Option<PathBuf>,

    /// Keep what the method streams in this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    receive: Option<PathBuf>,

    /// Print the result on one line, for machines
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        // SPEC 13.2. What else is wrong with a name, the server knows.
        if !matches!(self.method.rsplit_once('.'), Some((interface, method)) if !(interface.is_empty() || method.is_empty()))
        {
            return Err(Failure::Usage(format!("{:?} is not INTERFACE.METHOD", self.method)));
        }
        let arguments = self.arguments()?;
        let answer = self.peer.calling(self.timeout, async |client| {
            let client = client.clone().format(Format::Json);
            if self.send.is_some() || self.receive.is_some() {
                return self.stream(&client, arguments).await;
            }
            match client.call_written::<Never>(&self.method, false, self.one_way, arguments).await {
                Err(fixp_rpc::Failure::Streams) => Err(Failure::NotSo(
                    "the method gives a stream: --receive FILE keeps it; it was executed".to_owned(),
                )),
                answer => Ok(answer?),
            }
        })?;
        match answer {
            Ok(result) if self.one_way && result.is_empty() => Ok(Exit::Passed),
            Ok(result) => self.show(&result).map(|()| Exit::Passed),
            Err(error) => {
                read(&error)?;
                Err(Failure::Method(String::from_utf8_lossy(&error).into_owned()))
            }
        }
    }

    /// Calls a method that streams.
    async fn stream(&self, client: &Client, arguments: Bytes) -> Result<Result<Bytes, Bytes>, Failure> {
        let send = match &self.send {
            Some(path) => file(path).map_err(in_file(path))?,
            None => Body::from_bytes(Bytes::new()),
        };
        let (answer, mut came) = client.stream_written::<Never>(&self.method, arguments, send).await?;
        match &self.receive {
            // What is not kept must be nothing.
            None if !came.is_empty() => Err(Failure::NotSo(format!(
                "the method gives a stream of {} bytes: --receive FILE keeps it; it was executed",
                came.len()
            ))),
            Some(path) if answer.is_ok() => {
                let mut kept = File::create(path).map_err(in_file(path))?;
                while let Some(piece) = came.chunk().await {
                    let piece = piece.map_err(|error| {
                        Failure::NotSo(format!("the stream broke off: {error}; the call was executed"))
                    })?;
                    kept.write_all(&piece).map_err(in_file(path))?;
                }
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }

    /// The arguments as they go: one value of JSON, an object or an array.
    fn arguments(&self) -> Result<Bytes, Failure> {
        let Some(word) = &self.arguments else { return Ok("{}".into()) };
        let text = input::text_of(word)?;
        let mut values = json_text::values::<Box<RawValue>>(&text);
        match (values.next(), values.next()) {
            (None, _) => Err(Failure::Json(BadJson::nothing())),
            (Some(first), None) => match first.map_err(Failure::Json)? {
                (_, value) if value.get().starts_with(['{', '[']) => {
                    Ok(Box::<str>::from(value).into_string().into())
                }
                _ => Err(Failure::Usage("the arguments are an object or an array".to_owned())),
            },
            (_, Some(Err(error))) => Err(Failure::Json(error)),
            (_, Some(Ok(_))) => Err(Failure::Usage("the arguments are one value of JSON".to_owned())),
        }
    }

    fn show(&self, result: &[u8]) -> Result<(), Failure> {
        let layout = if self.json { Layout::Line } else { Layout::Readable };
        let result = read(result)?;
        Ok(output::at_once(|out| json_text::write(out, &result, layout))?)
    }
}

fn read(value: &[u8]) -> Result<ExactJson<'_>, Failure> {
    ExactJson::read(value)
        .map_err(|error| Failure::NotSo(format!("the server answered what is not JSON: {error}")))
}

/// A file as a stream.
fn file(path: &Path) -> io::Result<Body> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // A pipe does not tell how much there is in it.
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a stream must be a file, whose length is known",
        ));
    }
    Ok(Body::from_reader(metadata.len(), tokio::fs::File::from_std(file)))
}

fn in_file(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::File { name: path.display().to_string(), error }
}
