//! The client's side: a program's methods, called.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "laxcus6")]
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};
use std::time::Duration;

use fixp_codec::rpc::{Call, Throwable, Value};
use fixp_codec::{Dialect, Message, Packet};
use fixp_transport::{CallError, Cause, Channel, Repeat, tables, udp};

use super::form::{Form, Way};
use super::{Failure, Java};
use crate::line::Line;

/// Calls methods of one of the two programs, or of ours that serves as they do.
///
/// Calls go in the dialect of the channel or client beneath. Over a channel to a peer of another make they go one
/// after the other, unless the channel is told to have more under way (SPEC 11.1). None is begun again; but what
/// KEEP UDP loses of one is sent again, as the programs do, and a program may so execute it twice (SPEC 9.9): of one
/// that must not be, a client says that it goes [`once`](Client::once).
#[derive(Clone)]
pub struct Client {
    line: Line,
    /// The next number of a VISIT, where calls go so.
    #[cfg(feature = "laxcus6")]
    visits: Option<Arc<AtomicI64>>,
    bind_ip: Option<IpAddr>,
    timeout: Option<Duration>,
    repeat: Repeat,
}

impl Client {
    /// Calls over a channel: TCP, or KEEP UDP.
    #[must_use]
    pub const fn over(channel: Channel) -> Self {
        Self::of(Line::Channel(channel))
    }

    /// Calls to one peer over plain UDP: call and answer must each have room in one datagram.
    #[must_use]
    pub const fn over_udp(client: udp::Client, peer: SocketAddr) -> Self {
        Self::of(Line::Udp(client, peer))
    }

    /// Calls to one peer of laxcus6 as VISIT, which goes between sockets that listen, each way in one datagram
    /// (SPEC 12.8). As the program does, it asks by PRIVATE_SECURE_QUERY before each call whether the peer wants a
    /// cipher; the client beneath should not ask once more
    /// ([`Security::Unasked`](fixp_transport::udp::Security::Unasked)).
    #[cfg(feature = "laxcus6")]
    #[must_use]
    pub fn visiting(client: udp::Client, peer: SocketAddr) -> Self {
        Self { visits: Some(Arc::default()), ..Self::over_udp(client, peer) }
    }

    const fn of(line: Line) -> Self {
        Self {
            line,
            #[cfg(feature = "laxcus6")]
            visits: None,
            bind_ip: None,
            timeout: None,
            repeat: Repeat::Pieces,
        }
    }

    /// The same with BIND_IP, the address that calls leave from, in each call of lexst1. The program's client writes
    /// it over TCP, too, and a server of the mode address-match wants it; over UDP the transport always writes it.
    #[must_use]
    pub const fn bind_ip(mut self, ip: IpAddr) -> Self {
        self.bind_ip = Some(ip);
        self
    }

    /// The same with so much time for each call; that of the channel or client unless it is given.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same, but that nothing of a call is sent again over KEEP UDP unless the peer asks for it by name: no program
    /// executes it twice, and what is lost may have no answer.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.repeat = Repeat::Never;
        self
    }

    /// The dialect in which calls go.
    #[must_use]
    pub fn dialect(&self) -> &'static Dialect {
        self.line.dialect()
    }
}

impl Client {
    /// Calls a method: gives what it returned, [`Value::Null`] for nothing. Dropping the future gives the call up. A peer
    /// of ours is told; a program cannot be, and none was seen to look at its connection while a method runs, so over
    /// TCP the answer is waited for in its place, as long as the call has time.
    ///
    /// # Errors
    ///
    /// What it threw, or why there is no answer, and what that says of the call.
    pub async fn call(&self, call: &Call) -> Result<Value, Failure> {
        let form = Form::of(self.dialect()).ok_or(Failure::NotSent(Cause::NotOurs))?;
        let entity = form.write_call(call).map_err(Failure::Unwritable)?;
        let way = self.way(form).await?;
        let mut packet = form.request(way).with_entity(entity);
        if let (Some(ip), Some(key)) = (self.bind_ip, tables::of(self.dialect()).bind_ip) {
            // SPEC 12.1.
            packet.messages.push(Message::new(key, udp::bind_ip_text(ip)));
        }
        let answer = self.send(packet).await?;
        // The programs do not look at the code; but the answer to a call has only this one (SPEC 12.2).
        let due = form.answer(way);
        if form.turns_away(answer.code) {
            return Err(Failure::TurnedAway(answer.code));
        }
        let serial = way.serial_key();
        if answer.code != due.code || serial.is_some_and(|key| answer.first(key) != due.first(key)) {
            return Err(Failure::NotAnAnswer(answer.code));
        }
        let reply = form.read_reply(&answer.entity).map_err(Failure::Unreadable)?;
        match reply.throwable.as_ref().and_then(Throwable::of) {
            Some(thrown) => Err(Failure::of(thrown)),
            None => Ok(reply.object.unwrap_or(Value::Null)),
        }
    }

    /// The same for a method that returns this type.
    ///
    /// # Errors
    ///
    /// Those of [`Client::call`], and [`Failure::OtherType`].
    pub async fn call_typed<T: Java>(&self, call: &Call) -> Result<T, Failure> {
        let value = self.call(call).await?;
        T::of_value(&value).ok_or(Failure::OtherType(value))
    }

    /// Ends in order what calls go over. Clones end with it.
    pub async fn close(self) {
        self.line.close().await;
    }

    /// How a call goes, and what goes before it.
    async fn way(&self, form: Form) -> Result<Way, Failure> {
        match form {
            #[cfg(feature = "laxcus6")]
            Form::Laxcus6 => match &self.visits {
                Some(serials) => self.before_visit(serials).await,
                None => Ok(Way::Rpc),
            },
            #[cfg(feature = "lexst1")]
            Form::Lexst1 => Ok(Way::Rpc),
        }
    }

    /// Asks whether the peer takes a VISIT in the clear. The number of the VISIT is taken first (SPEC 12.8).
    #[cfg(feature = "laxcus6")]
    async fn before_visit(&self, serials: &AtomicI64) -> Result<Way, Failure> {
        use fixp_codec::laxcus6::{answer, key, notify};
        let serial = serials.fetch_add(2, Relaxed);
        let query = Packet::new(notify::PRIVATE_SECURE_QUERY);
        let query = query.with(key::SERIAL_NUMBER, serial.wrapping_add(1));
        let asked = query.first(key::SERIAL_NUMBER).cloned();
        let notice = self.send(query).await.map_err(|error| Failure::NotSent(error.cause))?;
        if notice.code != answer::PRIVATE_SECURE_NOTIFY || notice.first(key::SERIAL_NUMBER) != asked.as_ref()
        {
            return Err(Failure::NotSent(Cause::Unexpected));
        }
        udp::allows_clear(&notice).map_err(|mode| Failure::NotSent(Cause::Security(mode)))?;
        Ok(Way::Visit(serial))
    }

    async fn send(&self, packet: Packet) -> Result<Packet, CallError> {
        self.line.send(packet, self.repeat, self.timeout).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("dialect", &self.dialect().name()).finish_non_exhaustive()
    }
}
