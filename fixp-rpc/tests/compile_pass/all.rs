//! Whatever an interface may have.
#![deny(warnings, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;

use fixp_rpc::{Context, service};
use fixp_transport::Body;
use serde::{Deserialize, Serialize};

/// A module whose interface others use.
pub mod public {
    /// An interface that others use.
    #[fixp_rpc::service(name = "com.example.Clock$2")]
    pub trait Clock {
        /// The time.
        #[must_use]
        async fn now(&self) -> u64;
    }
}

#[derive(Serialize, Deserialize)]
struct Time<T> {
    ticks: T,
}

#[derive(Serialize, Deserialize)]
struct T(u8);

#[derive(Serialize, Deserialize)]
enum Stopped {
    Broken,
}

type Outcome<T> = std::result::Result<T, Stopped>;

#[service]
trait Empty {}

/// Documented.
#[service()]
trait All {
    async fn nothing(&self);
    async fn r#type(&self, r#match: u8) -> ();
    async fn generic(&self, times: BTreeMap<String, Vec<Time<u64>>>) -> Option<Time<f64>>;
    async fn fails(&self, a: u8, b: [u8; 4], c: (u8, String), d: char, e: i128) -> Result<u8, Stopped>;
    async fn other_fails(&self) -> std::result::Result<(), Stopped>;
    async fn alias(&self) -> Outcome<u8>;
    async fn short(&self, t: T) -> T;
    async fn many(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8);
    async fn context(&self, context: Context, call: u8, client: u8, inner: u8, dialect: u8) -> u8;
    async fn path(&self, whose: fixp_rpc::Context);
    #[idempotent]
    async fn again(&self) -> u8;
    async fn takes(&self, call: u8, body: Body) -> Result<u8, Stopped>;
    async fn gives(&self, inner: u8) -> fixp_transport::Body;
    async fn both(&self, context: Context, call: fixp_transport::Body) -> Result<(u8, Body), Stopped>;
    #[idempotent]
    #[one_way]
    async fn away(&self, text: String);
}

struct Some0;

impl All for Some0 {
    async fn nothing(&self) {}
    async fn r#type(&self, _: u8) {}
    async fn generic(&self, _: BTreeMap<String, Vec<Time<u64>>>) -> Option<Time<f64>> {
        None
    }
    async fn fails(&self, _: u8, _: [u8; 4], _: (u8, String), _: char, _: i128) -> Result<u8, Stopped> {
        Err(Stopped::Broken)
    }
    async fn other_fails(&self) -> Result<(), Stopped> {
        Ok(())
    }
    async fn alias(&self) -> Outcome<u8> {
        Ok(1)
    }
    async fn short(&self, t: T) -> T {
        t
    }
    async fn many(&self, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) {}
    async fn context(&self, _: Context, call: u8, _: u8, _: u8, _: u8) -> u8 {
        call
    }
    async fn path(&self, _: fixp_rpc::Context) {}
    async fn again(&self) -> u8 {
        1
    }
    async fn takes(&self, call: u8, _: Body) -> Result<u8, Stopped> {
        Ok(call)
    }
    async fn gives(&self, _: u8) -> Body {
        Body::from_bytes("x")
    }
    async fn both(&self, _: Context, call: Body) -> Result<(u8, Body), Stopped> {
        Ok((1, call))
    }
    async fn away(&self, _: String) {}
}

fn shown<T: std::fmt::Debug>() {}

fn main() {
    shown::<fixp_rpc::Client>();
    shown::<AllClient>();
    shown::<AllCalls>();
    // Whatever implements them.
    shown::<AllService<fn()>>();

    let _ = fixp_rpc::Rpc::new().serve(AllService::new(Arc::new(Some0)));
    assert_eq!(public::ClockClient::INTERFACE.methods[0].path, "com.example.Clock$2.now");
    assert!(EmptyClient::INTERFACE.methods.is_empty());
    assert_eq!(AllClient::INTERFACE.methods[1].path, "All.type");
}
