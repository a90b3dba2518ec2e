//! The object behind the recorded servers.

use fixp_codec::rpc::{Throwable, Type, Value};
use fixp_rpc::Context;
use fixp_rpc::legacy::{Signature, Visit, Visits};

pub(crate) struct Echo(pub(crate) &'static str);

/// It as it was recorded, under the names of both programs.
pub(crate) fn served() -> Visits {
    let visits = Visits::new().serve("EchoVisit1", Echo("EchoImpl1")).serve("EchoVisit6", Echo("EchoImpl6"));
    visits.serve("EchoService", Echo("EchoService"))
}

impl Visit for Echo {
    fn class(&self) -> Option<&str> {
        Some(self.0)
    }

    fn methods(&self) -> Vec<Signature> {
        vec![
            Signature::new("echo", [Type::string()]),
            Signature::new("add", [Type::INT, Type::INT]),
            Signature::new("bytes", [Type::bytes()]),
            Signature::new("fail", [Type::string()]),
            Signature::new("any", [Type::class("java.lang.Object")]),
            Signature::new("nothing", []),
            Signature::new("empty", []),
            Signature::new("plain", []),
        ]
    }

    async fn invoke(&self, _: Context, method: &Signature, params: Vec<Value>) -> Result<Value, Throwable> {
        match (method.name(), params.as_slice()) {
            ("echo", [Value::String(text)]) => Ok(format!("echo:{text}").into()),
            ("add", [Value::Int(a), Value::Int(b)]) => Ok(a.wrapping_add(*b).into()),
            ("bytes" | "any", [value]) => Ok(value.clone()),
            ("fail", [Value::String(text)]) => {
                Err(Throwable::new("java.lang.IllegalStateException", text.clone()))
            }
            ("nothing", []) => Ok(Value::Null),
            ("empty", []) => Ok(Vec::<u8>::new().into()),
            // What no program can write: a reference to what is not there.
            ("plain", []) => Ok(Value::Alias(1)),
            other => panic!("{other:?} was not to be found"),
        }
    }
}
