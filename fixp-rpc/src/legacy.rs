//! Calls of the two programs: serving them, and calling theirs (SPEC 12).
//!
//! A [`Visit`] is a Java object as its callers see it: methods with a name and exact types, values in and a value
//! or an exception out. [`Visits`] serves such objects under the names of their Java interfaces, in the dialect of
//! whoever calls: as a [`Handler`](fixp_transport::Handler), alone, or behind an [`Rpc`](crate::Rpc) for calls of
//! ours. [`Client`] calls those of a program.
//!
//! ```
//! use fixp_codec::LAXCUS6;
//! use fixp_codec::rpc::{Call, Throwable, Type, Value};
//! use fixp_rpc::Context;
//! use fixp_rpc::legacy::{Client, Signature, Visit, Visits};
//! use fixp_transport::{Channel, Server};
//!
//! struct Adder;
//!
//! impl Visit for Adder {
//!     fn methods(&self) -> Vec<Signature> {
//!         vec![Signature::new("add", [Type::INT, Type::INT])]
//!     }
//!
//!     async fn invoke(
//!         &self,
//!         _: Context,
//!         method: &Signature,
//!         params: Vec<Value>,
//!     ) -> Result<Value, Throwable> {
//!         match (method.name(), params.as_slice()) {
//!             ("add", [Value::Int(a), Value::Int(b)]) => Ok(a.wrapping_add(*b).into()),
//!             _ => Err(Throwable::new("java.lang.IllegalStateException", method.name())),
//!         }
//!     }
//! }
//!
//! # #[cfg(feature = "laxcus6")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let visits = Visits::new().serve("demo.EchoVisit", Adder);
//! let server = Server::builder(visits).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
//!
//! let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
//! let call = Call::new("demo.EchoVisit", "add").with(Type::INT, 2).with(Type::INT, 40);
//! assert_eq!(Client::over(channel).call(&call).await, Ok(Value::Int(42)));
//! # });
//! ```
//!
//! An interface whose types are all Java's is better written as a trait, with the attribute
//! [`service`](macro@crate::service): it is served to peers of ours and to the programs alike.
//!
//! ```
//! use fixp_codec::LEXST1;
//! use fixp_rpc::Rpc;
//! use fixp_rpc::legacy::{Client, Visits};
//! use fixp_transport::{Channel, Server};
//!
//! #[fixp_rpc::service(java = "com.lexst.visit.naming.home.HomeVisit")]
//! trait Home {
//!     async fn current_time(&self) -> i64;
//! }
//!
//! struct Stopped;
//!
//! impl Home for Stopped {
//!     async fn current_time(&self) -> i64 {
//!         0x12_3456_7890
//!     }
//! }
//!
//! # #[cfg(feature = "lexst1")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let home = std::sync::Arc::new(Stopped);
//! let visits = Visits::new().with(HomeService::new(home.clone()));
//! let handler = Rpc::new().serve(HomeService::new(home)).or(visits);
//! let server = Server::builder(handler).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
//!
//! let channel = Channel::builder(&LEXST1).connect(server.local_addr().unwrap()).await.unwrap();
//! let program = HomeJavaClient::new(Client::over(channel.clone()));
//! assert_eq!(program.current_time().await, Ok(0x12_3456_7890));
//! let ours = HomeClient::new(fixp_rpc::Client::over(channel));
//! assert_eq!(ours.current_time().await, Ok(0x12_3456_7890));
//! # });
//! ```

mod client;
mod failure;
#[cfg_attr(
    not(all(feature = "lexst1", feature = "laxcus6")),
    allow(unused_imports, unused_variables, reason = "one of the programs needs less than both")
)]
mod form;
mod java;
mod refused;
mod signature;
mod visits;

pub use client::Client;
pub use failure::Failure;
#[doc(hidden)]
pub use java::made;
pub use java::{Exception, Java};
pub use signature::Signature;
pub use visits::{Visit, Visits};
