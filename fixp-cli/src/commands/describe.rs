//! `fixp describe`: the methods of an interface of a server of ours.

use std::fmt::Write;
use std::time::Duration;

use conformance_vectors::exit::Exit;
use fixp_rpc::describe::{Description, DirectoryClient, MethodDescription};

use crate::failure::Failure;
use crate::json_text::{self, Layout};
use crate::peer::Peer;
use crate::style::{BOLD, DIM, NAME};
use crate::visible::visible;
use crate::{output, span};

const AFTER: &str = "\
A NAME is an interface, or an interface and a method; without one all interfaces
are described.

Examples:
  fixp describe 127.0.0.1:5000
  fixp describe 127.0.0.1:5000 Echo
  fixp describe 127.0.0.1:5000 Echo.add --json

Exit codes:
  0  the server told what it is
  1  it did not, or has nothing of this name
  2  wrong arguments";

/// Describe the interfaces that can be called at a server
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    #[command(flatten)]
    peer: Peer,

    /// What to describe
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = span::some_time)]
    timeout: Duration,

    /// Print it as JSON, for machines, an interface on a line
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let described = self.peer.calling(self.timeout, async |client| {
            self.described(&DirectoryClient::new(client.clone())).await
        })?;
        if self.json {
            output::at_once(|out| {
                described.iter().try_for_each(|one| json_text::write(&mut *out, one, Layout::Line))
            })?;
        } else {
            let texts: Vec<_> = described.iter().map(text).collect();
            output::print(texts.join("\n"))?;
        }
        Ok(Exit::Passed)
    }

    async fn described(&self, directory: &DirectoryClient) -> Result<Vec<Description>, Failure> {
        let Some(name) = &self.name else {
            let mut all = Vec::new();
            for name in directory.list().await? {
                all.extend(directory.describe(name).await?);
            }
            return Ok(all);
        };
        if let Some(described) = directory.describe(name.clone()).await? {
            return Ok(vec![described]);
        }
        let none = || Failure::NotSo(format!("the server has nothing of the name {name}"));
        let (interface, method) = name.rsplit_once('.').ok_or_else(none)?;
        let mut described = directory.describe(interface.to_owned()).await?.ok_or_else(none)?;
        described.methods.retain(|known| known.name == method);
        if described.methods.is_empty() { Err(none()) } else { Ok(vec![described]) }
    }
}

/// An interface as text: what its author says of a thing stands above it.
fn text(described: &Description) -> String {
    let mut text = String::new();
    docs(&mut text, "", &described.docs);
    let _ = writeln!(text, "{BOLD}{}{BOLD:#}", visible(&described.name));
    for method in &described.methods {
        docs(&mut text, "  ", &method.docs);
        let signature = method.signature();
        let behind = signature.strip_prefix(method.name.as_str()).unwrap_or_default();
        let (name, behind) = (visible(&method.name), visible(behind));
        let _ = writeln!(text, "  {NAME}{name}{NAME:#}{behind}{}", marks(method));
    }
    text
}

fn docs(text: &mut String, indent: &str, docs: &str) {
    for line in docs.lines() {
        let _ = writeln!(text, "{indent}{DIM}// {}{DIM:#}", visible(line));
    }
}

fn marks(method: &MethodDescription) -> &'static str {
    match (method.idempotent, method.one_way) {
        (true, true) => "  [idempotent, one way]",
        (true, false) => "  [idempotent]",
        (false, true) => "  [one way]",
        (false, false) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_play_with_the_terminal() {
        let strange = || "\u{9b}2J\u{8}".to_owned();
        let method = MethodDescription {
            name: strange(),
            docs: strange(),
            arguments: vec![(strange(), strange())],
            returns: strange(),
            fails: strange(),
            idempotent: false,
            one_way: false,
        };
        let text = text(&Description { name: strange(), docs: strange(), methods: vec![method] });
        assert_eq!(text.matches("\\u{9b}2J\\u{8}").count(), 8, "{text}");
        assert!(!text.contains(['\u{9b}', '\u{8}']), "{text:?}");
    }
}
