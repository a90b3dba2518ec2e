//! quinn-proto on the link: one stream in one direction.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, StreamEvent, StreamId,
};

use super::link::{RECEIVER, SENDER, Side};
use super::quic::{Identity, NAME, Tuning};

/// One end.
pub struct End {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    /// The stream that is written to.
    stream: Option<StreamId>,
    sends: bool,
    outbox: VecDeque<Bytes>,
    received: u64,
}

impl End {
    /// The end that connects and sends. The seed is for the numbers of connections; the keys are random.
    ///
    /// # Panics
    ///
    /// If it cannot begin to connect.
    #[must_use]
    pub fn sender(start: Instant, identity: &Identity, tuning: Tuning, seed: u64) -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, Some(seeded(seed)));
        let connection =
            endpoint.connect(start, identity.client(tuning), RECEIVER, NAME).expect("a connection");
        Self::new(endpoint, Some(connection), true)
    }

    /// The other.
    #[must_use]
    pub fn receiver(identity: &Identity, tuning: Tuning, seed: u64) -> Self {
        let server = Some(Arc::new(identity.server(tuning)));
        let config = Arc::new(EndpointConfig::default());
        Self::new(Endpoint::new(config, server, true, Some(seeded(!seed))), None, false)
    }

    fn new(endpoint: Endpoint, connection: Option<(ConnectionHandle, Connection)>, sends: bool) -> Self {
        Self { endpoint, connection, stream: None, sends, outbox: VecDeque::new(), received: 0 }
    }

    /// Does what there is to do, until nothing is.
    fn work(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        loop {
            while let Some(event) = connection.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(*handle, event) {
                    connection.handle_event(event);
                }
            }
            match connection.poll() {
                Some(Event::Connected) if self.sends => self.stream = connection.streams().open(Dir::Uni),
                Some(Event::Stream(StreamEvent::Opened { dir })) => {
                    while let Some(stream) = connection.streams().accept(dir) {
                        self.received += read(connection, stream);
                    }
                }
                Some(Event::Stream(StreamEvent::Readable { id })) => self.received += read(connection, id),
                Some(_) => {}
                None => break,
            }
        }
        if let Some(stream) = self.stream {
            static PIECE: [u8; 64 << 10] = [7; 64 << 10];
            while connection
                .send_stream(stream)
                .write_chunks(&mut [Bytes::from_static(&PIECE)])
                .is_ok_and(|written| written.bytes > 0)
            {}
        }
    }
}

fn read(connection: &mut Connection, stream: StreamId) -> u64 {
    let mut came = 0;
    let mut stream = connection.recv_stream(stream);
    let Ok(mut chunks) = stream.read(true) else { return 0 };
    while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
        came += chunk.bytes.len() as u64;
    }
    // Whether something is to be sent for it shows when it is asked for what to send.
    let _ = chunks.finalize();
    came
}

fn seeded(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

impl Side for End {
    fn handle(&mut self, now: Instant, datagram: &[u8]) {
        let mut buffer = Vec::new();
        let peer = if self.sends { RECEIVER } else { SENDER };
        match self.endpoint.handle(now, peer, None, None, BytesMut::from(datagram), &mut buffer) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.connection = self.endpoint.accept(incoming, now, &mut buffer, None).ok();
            }
            Some(DatagramEvent::Response(transmit)) => {
                self.outbox.push_back(Bytes::copy_from_slice(&buffer[..transmit.size]));
            }
            None => {}
        }
        self.work();
    }

    fn timeout(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_timeout(now);
        }
        self.work();
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        self.connection.as_mut()?.1.poll_timeout()
    }

    fn transmit(&mut self, now: Instant) -> Option<Bytes> {
        if let Some(bytes) = self.outbox.pop_front() {
            return Some(bytes);
        }
        let mut buffer = Vec::new();
        let transmit = self.connection.as_mut()?.1.poll_transmit(now, 1, &mut buffer)?;
        buffer.truncate(transmit.size);
        Some(buffer.into())
    }

    fn received(&self) -> u64 {
        self.received
    }
}
