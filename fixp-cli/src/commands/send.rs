//! `fixp send`: any request, and bytes as they are.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::ArgGroup;
use conformance_vectors::exit::Exit;
use fixp_codec::{Encoder, Packet};
use fixp_transport::Repeat;
use fixp_transport::udp::MAX_DATAGRAM;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use crate::dialects::Doubt;
use crate::failure::Failure;
use crate::input::{self, Input};
use crate::json_text::{self, BadJson, Layout};
use crate::peer::{Manner, Peer};
use crate::{latency, names, output, runtime, span};

const AFTER: &str = "\
A request comes from JSON, that of `fixp encode`, or from --request, --message
and --entity. Several JSON values are sent one after another, over one connection
or from one socket; each answer is printed as `fixp decode` prints it. A laxcus6
server is asked SECURE_QUERY first, as its own clients do it. Over KEEP UDP an
answer has no CONTENT_LENGTH, as none of its pieces has that of the whole.

--raw sends bytes as they are, legal or not, and nothing else: each --raw in one
write or one datagram. A line of hex is printed for each piece or datagram that
comes back, until the peer closes the connection or the time is over.

A KEY is a number or a name of `fixp dialects`, a TYPE one of raw, boolean,
string, int16, int32, int64, float32, float64, zraw and zstring (raw is hex).

Examples:
  fixp send 127.0.0.1:5000 --request NOTIFY/TEST --message SPEAK=string:TEST!
  fixp send 127.0.0.1:5000 --udp '{\"type\":\"request\",\"major\":1,\"minor\":5}'
  fixp send 127.0.0.1:5000 --dialect lexst1 --request 4/9 --entity @chunk.bin --json
  fixp send 127.0.0.1:5000 --keep-udp --request NOTIFY/FLUSH_LOG --entity @log.gz
  fixp send 127.0.0.1:5000 --raw 87000105010100fc03015000 | fixp explain -

Exit codes:
  0  everything was answered; with --raw, something came back
  1  something was not answered, or a request cannot be written
  2  wrong arguments";

/// How long an answer may take: the programs' own time-out.
const ANSWER: Duration = Duration::from_secs(20);
/// How long is waited for what comes back for raw bytes: nobody can tell when it is complete.
const RAW: Duration = Duration::from_secs(2);

/// Send a request and print the answer
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
#[command(group = ArgGroup::new("other-than-input").args(["request", "raw"]).conflicts_with_all(["words", "file"]))]
pub(crate) struct Args {
    #[command(flatten)]
    peer: Peer,

    #[command(flatten)]
    input: Input,

    /// The request, by names or numbers: NOTIFY/TEST, 1/5
    #[arg(long, value_name = "MAJOR/MINOR")]
    request: Option<String>,

    /// A message of the request; may be given several times
    #[arg(long, value_name = "KEY=TYPE:VALUE", requires = "request")]
    message: Vec<String>,

    /// The entity of the request: a text, hex:DIGITS, or @FILE
    #[arg(long, value_name = "ENTITY", requires = "request")]
    entity: Option<String>,

    /// Send these bytes as they are: hex, a file, @FILE, or - for standard input
    #[arg(long, value_name = "BYTES", conflicts_with_all = ["count", "no_answer", "dialect", "no_extensions", "keep_udp"])]
    raw: Vec<String>,

    /// Send everything so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// Send no piece twice unless the peer asks for it by name: what is lost may have no answer. Otherwise pieces
    /// go again as the programs' own go, and a program of which nothing is heard may execute the request twice
    #[arg(long, requires = "keep_udp", conflicts_with = "udp")]
    once: bool,

    /// How long an answer may take [default: 20s, with --raw 2s]
    #[arg(long, value_name = "TIME", value_parser = span::some_time)]
    timeout: Option<Duration>,

    /// Wait for no answer, as there is none to COMEBACK or EMPTY_OPERATE
    #[arg(long, requires = "udp", conflicts_with = "keep_udp")]
    no_answer: bool,

    /// Print one line per answer, for machines
    #[arg(long)]
    json: bool,
}

/// A piece that came back, with `--json`.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Came {
    Bytes { after_ms: f64, length: usize, hex: String },
    Closed { after_ms: f64 },
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let addr = self.peer.address()?;
        if self.raw.is_empty() {
            let packets = self.packets()?;
            return runtime::small(self.send(addr, &packets));
        }
        let pieces: Vec<Vec<u8>> =
            self.raw.iter().map(|word| input::bytes_of(word)).collect::<Result<_, _>>()?;
        let time = self.timeout.unwrap_or(RAW);
        if self.peer.udp {
            runtime::small(self.raw_udp(addr, &pieces, time))
        } else {
            runtime::small(self.raw_tcp(addr, &pieces, time))
        }
    }

    /// What is to be sent. Nothing is, unless all of it can be written.
    fn packets(&self) -> Result<Vec<Packet>, Failure> {
        let encoder = Encoder::new(self.peer.dialect);
        if let Some(request) = &self.request {
            let mut packet = Packet::new(names::request(request, self.peer.dialect)?);
            for message in &self.message {
                packet.messages.push(names::message(message, self.peer.dialect)?);
            }
            packet.entity = self.entity.as_deref().map(names::entity).transpose()?.unwrap_or_default();
            encoder.packet_len(&packet)?;
            return Ok(vec![packet]);
        }
        let text = self.input.json()?;
        let mut doubt = Doubt::default();
        let mut packets = Vec::new();
        for value in json_text::values::<Packet>(&text) {
            let (offset, packet) = value.map_err(Failure::Json)?;
            doubt.look(&packet, self.peer.dialect);
            encoder.packet_len(&packet).map_err(|error| Failure::Unwritable { error, offset })?;
            packets.push(packet);
        }
        if packets.is_empty() { Err(Failure::Json(BadJson::nothing())) } else { Ok(packets) }
    }

    async fn send(&self, addr: SocketAddr, packets: &[Packet]) -> Result<Exit, Failure> {
        let time = self.timeout.unwrap_or(ANSWER);
        let size = packets.iter().map(|packet| packet.entity.len()).max().unwrap_or(0);
        let repeat = if self.once { Repeat::Never } else { Repeat::Pieces };
        let caller = self.peer.connect(addr, Manner { size, repeat, ..Manner::one_by_one(time) }).await?;
        let mut exit = Exit::Passed;
        for packet in (0..self.count).flat_map(|_| packets) {
            let outcome = if self.no_answer {
                caller.notice(packet.clone()).await.map(|()| None)
            } else {
                caller.call(packet.clone(), time).await.map(Some)
            };
            match outcome {
                Ok(Some(answer)) => self.show(&answer)?,
                Ok(None) => {}
                Err(error) => {
                    output::complain(&error.into());
                    exit = Exit::Failed;
                }
            }
        }
        caller.close().await;
        Ok(exit)
    }

    fn show(&self, answer: &Packet) -> Result<(), Failure> {
        let layout = if self.json { Layout::Line } else { Layout::Readable };
        // Compressed values may turn out not to be: then not half a line is printed.
        let mut text = Vec::new();
        json_text::write(&mut text, answer, layout)
            .map_err(|error| Failure::NotSo(format!("the answer cannot be shown: {error}")))?;
        Ok(output::at_once(|out| out.write_all(&text))?)
    }

    async fn raw_tcp(&self, addr: SocketAddr, pieces: &[Vec<u8>], time: Duration) -> Result<Exit, Failure> {
        let failure = |error| Failure::Peer { name: addr.to_string(), error };
        let connected = timeout(time, TcpStream::connect(addr)).await;
        let mut stream =
            connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(failure)?;
        stream.set_nodelay(true).map_err(failure)?;
        let begin = Instant::now();
        let until = begin + time;
        let (mut reader, mut writer) = stream.split();
        let write = async {
            for piece in pieces {
                writer.write_all(piece).await?;
                writer.flush().await?;
            }
            Ok(())
        };
        let read = async {
            let mut buffer = vec![0; MAX_DATAGRAM];
            let mut exit = Exit::Failed;
            // Until the time is over.
            while let Ok(read) = timeout_at(until, reader.read(&mut buffer)).await {
                match read {
                    Ok(0) => {
                        self.closed(begin, "the peer closed the connection")?;
                        break;
                    }
                    Ok(length) => {
                        self.came(begin, buffer.get(..length).unwrap_or_default())?;
                        exit = Exit::Passed;
                    }
                    Err(error) => {
                        self.closed(begin, &format!("the connection was lost: {}", error.kind()))?;
                        break;
                    }
                }
            }
            Ok(exit)
        };
        // A peer that answers before it has read everything must not hold both up. What is lost on the way
        // out is seen on the way in.
        let (_, exit) =
            tokio::join!(async { timeout_at(until, write).await.unwrap_or(std::io::Result::Ok(())) }, read);
        exit
    }

    async fn raw_udp(&self, addr: SocketAddr, pieces: &[Vec<u8>], time: Duration) -> Result<Exit, Failure> {
        let failure = |error| Failure::Peer { name: addr.to_string(), error };
        let any: SocketAddr = match addr {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await.map_err(failure)?;
        socket.connect(addr).await.map_err(failure)?;
        let begin = Instant::now();
        for piece in pieces {
            socket.send(piece).await.map_err(failure)?;
        }
        let mut buffer = vec![0; MAX_DATAGRAM + 1];
        let mut exit = Exit::Failed;
        while let Ok(received) = timeout_at(begin + time, socket.recv(&mut buffer)).await {
            let length = received.map_err(failure)?;
            self.came(begin, buffer.get(..length).unwrap_or_default())?;
            exit = Exit::Passed;
        }
        Ok(exit)
    }

    fn came(&self, begin: Instant, bytes: &[u8]) -> Result<(), Failure> {
        let hex = hex::encode(bytes);
        Ok(output::at_once(|out| {
            if self.json {
                let came = Came::Bytes { after_ms: latency::of(begin.elapsed()), length: bytes.len(), hex };
                json_text::write(out, &came, Layout::Line)
            } else {
                writeln!(out, "{hex}")
            }
        })?)
    }

    fn closed(&self, begin: Instant, how: &str) -> Result<(), Failure> {
        if !self.json {
            output::note(how);
            return Ok(());
        }
        let closed = Came::Closed { after_ms: latency::of(begin.elapsed()) };
        Ok(output::at_once(|out| json_text::write(out, &closed, Layout::Line))?)
    }
}
