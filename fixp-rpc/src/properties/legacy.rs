//! What must hold for any bytes as a call of one of the programs.

use std::pin::pin;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::rpc::{self, Throwable, Type, Value};
use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::host::Transport;
use fixp_transport::{Handler, Peer, Reply, Request};

use crate::Context;
use crate::legacy::{Signature, Visit, Visits};

/// Gives back the last that it is given.
struct Mirror;

impl Visit for Mirror {
    fn methods(&self) -> Vec<Signature> {
        vec![
            Signature::new("echo", [Type::string()]),
            Signature::new("add", [Type::INT, Type::INT]),
            Signature::new("bytes", [Type::bytes()]),
            Signature::new("any", [Type::class("java.lang.Object")]),
            Signature::new("fail", [Type::string()]),
            Signature::new("nothing", []),
            Signature::new("empty", []),
        ]
    }

    async fn invoke(
        &self,
        _: Context,
        method: &Signature,
        mut params: Vec<Value>,
    ) -> Result<Value, Throwable> {
        match method.name() {
            "fail" => Err(Throwable::new("java.lang.IllegalStateException", "told to")),
            // laxcus6 cannot write it (SPEC 12.16).
            "empty" => Ok(Vec::<u8>::new().into()),
            _ => Ok(params.pop().unwrap_or(Value::Null)),
        }
    }
}

/// Whatever the entity of a call of the programs, there is an answer that says OKAY and can be read, but to a result
/// that cannot be written (SPEC 12.2, 12.6, 12.7); what cannot be read as a call threw (SPEC 12.6).
///
/// The first byte chooses the dialect, VISIT, and UDP; the rest is the entity.
///
/// # Panics
///
/// It is not so.
pub fn legacy(input: &[u8]) {
    let Some((&choices, entity)) = input.split_first() else { return };
    let (dialect, visit): (&'static Dialect, bool) =
        if choices & 1 == 0 { (&LAXCUS6, choices & 2 != 0) } else { (&LEXST1, false) };
    let (code, okay) = match (dialect.name(), visit) {
        ("lexst1", _) => (lexst1::rpc::EXECUTE, lexst1::answer::OKAY),
        (_, false) => (laxcus6::rpc::EXECUTE, laxcus6::answer::OKAY),
        (_, true) => (laxcus6::notify::VISIT, laxcus6::answer::VISIT_ACCEPTED),
    };
    let transport = if visit || choices & 4 != 0 { Transport::Udp } else { Transport::Tcp };
    let packet = Packet::new(code).with(laxcus6::key::SERIAL_NUMBER, 7_i64);
    let packet = packet.with_entity(Bytes::copy_from_slice(entity));
    let read = match dialect.name() {
        "lexst1" => rpc::lexst1::decode_call(entity),
        _ => rpc::laxcus6::decode_call(entity),
    };

    // There is no runtime, and so no clock.
    let visits = Visits::new().time_limit(Duration::MAX);
    let visits = ["EchoVisit1", "EchoVisit6", "EchoService"]
        .into_iter()
        .fold(visits, |visits, name| visits.serve(name, Mirror));
    let addr = ([127, 0, 0, 1], 5000).into();
    let peer = Peer { addr, local: addr, transport, dialect };
    let handling = pin!(visits.handle(Request { packet, body: None, peer, deadline: None }));
    let answer = match handling.poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(Reply::Answer(answer)) => answer.packet,
        Poll::Ready(Reply::Unwritable) if read.is_ok() => return,
        other => panic!("a call is answered at once: {other:?}"),
    };
    assert_eq!(answer.code, okay);
    assert_eq!(answer.first(laxcus6::key::SERIAL_NUMBER), visit.then_some(&7_i64.into()));
    let reply = match dialect.name() {
        "lexst1" => rpc::lexst1::decode_reply(&answer.entity),
        _ => rpc::laxcus6::decode_reply(&answer.entity),
    };
    let threw = reply.expect("an answer that can be read").throwable.is_some();
    assert!(threw || read.is_ok(), "what cannot be read was executed");
}
