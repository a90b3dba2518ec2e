//! A connection of the client: requests by hand, one at a time, so that nothing but the server's own work is
//! between them and their answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fixp_codec::{Decoder, Dialect, Event, LAXCUS6, LEXST1, Packet, laxcus6};
use fixp_transport::tables;
use request::{log, query, test};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::Failure;

/// How long an answer may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    dialect: &'static Dialect,
}

/// The address that the connection of this number comes from: a server takes only so many from one.
pub(crate) fn source(number: usize) -> Ipv4Addr {
    const EACH: usize = 1000;
    // Other systems have no more of loopback than its first address.
    if cfg!(target_os = "linux") {
        Ipv4Addr::new(127, 0, 0, (1 + number / EACH % 250) as u8)
    } else {
        Ipv4Addr::LOCALHOST
    }
}

impl Link {
    /// Connects. Every fourth speaks lexst1.
    pub(crate) async fn open(number: usize, to: SocketAddr) -> Result<Self, Failure> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source(number), 0).into())?;
        let stream = timeout(PATIENCE, socket.connect(to)).await??;
        stream.set_nodelay(true)?;
        let dialect = if number % 4 == 3 { &LEXST1 } else { &LAXCUS6 };
        Ok(Self { stream, dialect })
    }

    /// The first exchange: SECURE_QUERY and TEST as the clients of laxcus6 have it, or a request of lexst1.
    pub(crate) async fn greet(&mut self) -> Result<(), Failure> {
        if self.dialect.name() == LEXST1.name() {
            return self.echo(b"idle").await;
        }
        let key = self.ask(&query()).await?;
        if key.code != laxcus6::answer::SECURE_NOTIFY {
            return Err(format!("SECURE_QUERY was answered by {}", key.code).into());
        }
        self.test().await
    }

    /// A request to which the server answers by itself.
    pub(crate) async fn test(&mut self) -> Result<(), Failure> {
        if self.dialect.name() == LEXST1.name() {
            return self.echo(b"still there").await;
        }
        let answer = self.ask(&test()).await?;
        if answer.code != laxcus6::answer::ACCEPTED {
            return Err(format!("TEST was answered by {}", answer.code).into());
        }
        Ok(())
    }

    /// A request with an entity, which comes back.
    pub(crate) async fn echo(&mut self, entity: &[u8]) -> Result<(), Failure> {
        let answer = self.ask(&log(self.dialect, entity)).await?;
        if answer.code != tables::of(self.dialect).okay || answer.entity != entity {
            return Err(format!("{} bytes came back as {answer:?}", entity.len()).into());
        }
        Ok(())
    }

    async fn ask(&mut self, request: &Packet) -> Result<Packet, Failure> {
        timeout(PATIENCE, self.exchange(request)).await.map_err(|_| "no answer in time")?
    }

    async fn exchange(&mut self, request: &Packet) -> Result<Packet, Failure> {
        self.stream.write_all(&request.to_bytes(self.dialect)?).await?;
        let mut decoder = Decoder::new(self.dialect).stream();
        let (mut head, mut entity) = (None, Vec::new());
        let mut buffer = [0; 4096];
        loop {
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                return Err("the server closed the connection".into());
            }
            let mut input = &buffer[..count];
            while let Some(event) = decoder.next(&mut input) {
                match event? {
                    Event::Head(of) => head = Some(of.to_packet()?),
                    Event::Entity(piece) => entity.extend_from_slice(piece),
                    Event::End => {
                        let head = head.take().ok_or("an entity without a head")?;
                        return Ok(head.with_entity(entity));
                    }
                }
            }
        }
    }
}

/// The requests.
pub(crate) mod request {
    use fixp_codec::{Dialect, LEXST1, Packet, laxcus6, lexst1};

    pub(crate) fn query() -> Packet {
        Packet::new(laxcus6::notify::SECURE_QUERY)
    }

    pub(crate) fn test() -> Packet {
        Packet::new(laxcus6::notify::TEST).with(laxcus6::key::SPEAK, "TEST!")
    }

    pub(crate) fn log(dialect: &Dialect, entity: &[u8]) -> Packet {
        let lexst1 = dialect.name() == LEXST1.name();
        let code = if lexst1 { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
        Packet::new(code).with_entity(entity.to_vec())
    }
}
