//! `fixp call`: a method of a server of ours, arguments and result as JSON.

use std::time::Duration;

use bytes::Bytes;
use conformance_vectors::exit::Exit;
use fixp_rpc::{Format, Never};
use serde_json::Value;

use crate::failure::Failure;
use crate::input;
use crate::json_text::{self, BadJson, Layout};
use crate::peer::Peer;
use crate::{output, span};

const AFTER: &str = "\
The arguments are a JSON object of them by name, or an array of them in their
order; a method without arguments needs none. What the method returns is printed;
what it returns as its own error goes to standard error. `fixp list` and `fixp
describe` tell what there is to call.

Examples:
  fixp call 127.0.0.1:5000 Echo.echo '{\"text\":\"it works\"}'
  fixp call 127.0.0.1:5000 Echo.add '[2, 3]' --keep-udp
  fixp call 127.0.0.1:5000 Log.append @entry.json --timeout 2s
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
    #[arg(long)]
    one_way: bool,

    /// Print the result on one line, for machines
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let arguments = self.arguments()?;
        let answer = self.peer.calling(self.timeout, async |client| {
            let client = client.clone().format(Format::Json);
            Ok(client.call_written::<Never>(&self.method, false, self.one_way, arguments).await?)
        })?;
        match answer {
            Ok(result) if self.one_way && result.is_empty() => Ok(Exit::Passed),
            Ok(result) => self.show(&result).map(|()| Exit::Passed),
            Err(error) => Err(Failure::Method(read(&error)?)),
        }
    }

    /// The arguments as they go: one value of JSON, an object or an array.
    fn arguments(&self) -> Result<Bytes, Failure> {
        let Some(word) = &self.arguments else { return Ok("{}".into()) };
        let text = input::text_of(word)?;
        let mut values = json_text::values::<Value>(&text);
        match (values.next(), values.next()) {
            (None, _) => Err(Failure::Json(BadJson::nothing())),
            (Some(first), None) => match first.map_err(Failure::Json)? {
                (_, value @ (Value::Object(_) | Value::Array(_))) => Ok(value.to_string().into()),
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

fn read(value: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(value)
        .map_err(|error| Failure::NotSo(format!("the server answered what is not JSON: {error}")))
}
