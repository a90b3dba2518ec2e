//! `fixp ping`: whether a peer answers, and how fast.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use conformance_vectors::exit::Exit;
use fixp_codec::{Code, LEXST1, Packet, Value, laxcus6};
use fixp_transport::host::{Host, Node};
use fixp_transport::udp::{Config, Security};
use fixp_transport::{CallError, Cause, Repeat, heartbeat, tables};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;
use crate::json_text::{self, Layout};
use crate::latency::{self, Latencies, Summary};
use crate::peer::{Caller, Manner, Peer};
use crate::{names, output, runtime, span};

const AFTER: &str = "\
TEST is what laxcus6 has for this: its server answers ACCEPTED and the address
that it sees us at. With --helo the heartbeat goes instead, as that of a site
that has not logged in: a hub may answer NOTLOGIN, or, in lexst1, nothing. lexst1
has no TEST, so it is always asked by HELO. Any answer counts, and its name is
printed. Without -c it goes on until Ctrl-C. Over KEEP UDP it is asked by HELO, too,
since TEST is a plain datagram there.

Times do not include connecting; over TCP a connection that is lost is made anew
with the next request.

Examples:
  fixp ping 127.0.0.1:5000 -c 4
  fixp ping 127.0.0.1:5000 --udp -i 0.2 -W 500ms
  fixp ping 127.0.0.1:5000 --udp --helo -c 1
  fixp ping 127.0.0.1:5000 --keep-udp -c 4
  fixp ping 127.0.0.1:5000 --udp --dialect lexst1 -c 10 --json | tail -1 | jq .ms

Exit codes:
  0  something was answered
  1  nothing was answered
  2  wrong arguments";

/// The site that the heartbeat tells: a front of laxcus6, a work job of lexst1.
const FRONT: u8 = 15;
const WORK: i32 = 7;

/// How long a UDP port is not used after an answer did not come in time, at least.
const QUARANTINE: Duration = Duration::from_secs(10);

/// Measure how fast a peer answers
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    #[command(flatten)]
    peer: Peer,

    /// Ask by the heartbeat HELO
    #[arg(long)]
    helo: bool,

    /// Stop after so many requests
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// From one request to the next; seconds, or with a unit
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = span::time)]
    interval: Duration,

    /// How long an answer may take
    #[arg(short = 'W', long, value_name = "TIME", default_value = "5s", value_parser = span::some_time)]
    timeout: Duration,

    /// Print one line per request, and one of the summary, for machines
    #[arg(long)]
    json: bool,
}

/// What is printed of a request with `--json`.
#[derive(Serialize)]
struct Line {
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_as: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What is printed in the end with `--json`.
#[derive(Serialize)]
struct Total {
    sent: u64,
    received: u64,
    lost_percent: f64,
    ms: Option<Summary>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let addr = self.peer.address()?;
        let packet = self.packet(addr)?;
        runtime::small(self.ping(addr, &packet))
    }

    /// What is asked.
    fn packet(&self, addr: SocketAddr) -> Result<Packet, Failure> {
        if let Some(test) = tables::of(self.peer.dialect).test
            && !self.helo
            && !self.peer.keep_udp
        {
            return Ok(Packet::new(test).with(laxcus6::key::SPEAK, "TEST!"));
        }
        let ip = own_address(addr).map_err(|error| Failure::Peer { name: addr.to_string(), error })?;
        Ok(if self.peer.dialect.name() == LEXST1.name() {
            heartbeat::Config::lexst1(WORK, ip, 0, 0).helo
        } else {
            heartbeat::Config::laxcus6(&Node::new(FRONT, ip, 0, 0)).helo
        })
    }

    async fn ping(&self, addr: SocketAddr, packet: &Packet) -> Result<Exit, Failure> {
        let question = names::of_code(packet.code, self.peer.dialect);
        let what = format!("{question} to {addr}, {}, {}", self.peer.transport(), self.peer.dialect);
        if !self.json {
            print(&format!("{what}\n"))?;
        }
        let mut times =
            Latencies::new().ok_or_else(|| Failure::NotSo("times cannot be counted".to_owned()))?;
        let mut caller = None;
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        let mut sent = 0;
        let mut next = Instant::now();
        while self.count.is_none_or(|count| sent < count) {
            tokio::select! {
                biased;
                _ = &mut interrupt => break,
                () = sleep_until(next) => {}
            }
            next = Instant::now() + self.interval;
            let outcome = tokio::select! {
                biased;
                // What is under way is not lost, and not counted.
                _ = &mut interrupt => break,
                outcome = self.ask(addr, packet, &mut caller) => outcome,
            };
            sent += 1;
            if let Ok((_, time)) = &outcome {
                times.record(*time);
            }
            self.show(sent, addr, outcome)?;
        }
        self.sum_up(&what, sent, &times)?;
        if let Some(caller) = caller {
            caller.close().await;
        }
        Ok(if times.count() > 0 { Exit::Passed } else { Exit::Failed })
    }

    /// One request, over the connection that is there, or a new one.
    async fn ask(
        &self,
        addr: SocketAddr,
        packet: &Packet,
        caller: &mut Option<Caller>,
    ) -> Result<(Packet, Duration), CallError> {
        let peer = match caller {
            Some(caller) => caller.clone(),
            None => {
                let security = Security::Unasked;
                let quarantine = QUARANTINE.min(Config::QUARANTINE);
                let manner = Manner {
                    security,
                    quarantine,
                    repeat: Repeat::Harmless,
                    ..Manner::one_by_one(self.timeout)
                };
                caller.insert(self.peer.connect(addr, manner).await?).clone()
            }
        };
        let begin = Instant::now();
        let outcome = peer.call(packet.clone(), self.timeout).await;
        let time = begin.elapsed();
        if outcome.is_err() && !self.peer.udp && !self.peer.keep_udp {
            // One that cannot be had again says why at once.
            *caller = None;
        }
        outcome.map(|answer| (answer, time))
    }

    fn show(
        &self,
        n: u64,
        addr: SocketAddr,
        outcome: Result<(Packet, Duration), CallError>,
    ) -> Result<(), Failure> {
        let line = match outcome {
            Ok((answer, time)) => Line {
                n,
                answer: Some(self.name(answer.code)),
                ms: Some(latency::of(time)),
                seen_as: seen_as(&answer),
                error: None,
            },
            Err(error) => Line { n, answer: None, ms: None, seen_as: None, error: Some(sentence(&error)) },
        };
        if self.json {
            return print_json(&line);
        }
        let text = match line {
            Line { answer: Some(answer), ms: Some(ms), seen_as: None, .. } => {
                format!("{n}: {answer} from {addr} in {ms:.3} ms\n")
            }
            Line { answer: Some(answer), ms: Some(ms), seen_as: Some(seen), .. } => {
                format!("{n}: {answer} from {addr} in {ms:.3} ms, seen as {seen}\n")
            }
            Line { error, .. } => format!("{n}: {}\n", error.unwrap_or_default()),
        };
        print(&text)
    }

    fn name(&self, code: Code) -> String {
        names::of_code(code, self.peer.dialect)
    }

    fn sum_up(&self, what: &str, sent: u64, times: &Latencies) -> Result<(), Failure> {
        let received = times.count();
        let lost_percent = if sent == 0 { 0.0 } else { (sent - received) as f64 * 100.0 / sent as f64 };
        let ms = times.summary();
        if self.json {
            return print_json(&Total { sent, received, lost_percent, ms });
        }
        let mut text = format!(
            "\n--- {what} ---\n{sent} sent, {received} received, {}% lost\n",
            (lost_percent * 10.0).round() / 10.0
        );
        if let Some(ms) = ms {
            text.push_str(&format!("{ms}\n"));
        }
        print(&text)
    }
}

/// The address that the server saw, as it says.
fn seen_as(answer: &Packet) -> Option<SocketAddr> {
    let host = answer.first(laxcus6::key::HOST).and_then(Value::as_raw)?;
    Host::read(host).map(|host| host.addr)
}

/// Why there is no answer; what became of the request is of no interest here.
fn sentence(error: &CallError) -> String {
    match error.cause {
        Cause::Timeout => "no answer in time".to_owned(),
        cause => cause.to_string(),
    }
}

/// The address of ours that this peer is reached from. Sends nothing.
fn own_address(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(output::at_once(|out| out.write_all(text.as_bytes()))?)
}

fn print_json(line: &impl Serialize) -> Result<(), Failure> {
    Ok(output::at_once(|out| json_text::write(out, line, Layout::Line))?)
}
