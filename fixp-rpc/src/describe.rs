//! What a server tells of its interfaces: the interface `fixp`, which every [`Rpc`](crate::Rpc) has (SPEC 13.7).
//!
//! ```
//! use fixp_codec::LAXCUS6;
//! use fixp_rpc::describe::DirectoryClient;
//! use fixp_rpc::{Client, Rpc};
//! use fixp_transport::{Channel, Server};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let server = Server::builder(Rpc::new()).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
//! let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
//!
//! let directory = DirectoryClient::new(Client::over(channel));
//! assert_eq!(directory.list().await.unwrap(), ["fixp"]);
//! let itself = directory.describe("fixp".to_owned()).await.unwrap().unwrap();
//! assert_eq!(itself.methods[0].signature(), "list() -> Vec<String>");
//! # });
//! ```

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::interface::{Argument, Interface, Method};

/// What a server offers.
#[crate::service(name = "fixp")]
pub trait Directory {
    /// The names of the interfaces, in their order.
    #[idempotent]
    async fn list(&self) -> Vec<String>;

    /// An interface; nothing where there is none of this name.
    #[idempotent]
    async fn describe(&self, interface: String) -> Option<Description>;
}

/// An interface, as its server tells it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// What its author says of it.
    pub docs: String,
    /// Its methods.
    pub methods: Vec<MethodDescription>,
}

/// A method, as its server tells it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct MethodDescription {
    /// Its name.
    pub name: String,
    /// What its author says of it.
    pub docs: String,
    /// Its arguments, names and types, in their order.
    pub arguments: Vec<(String, String)>,
    /// The type of its result.
    pub returns: String,
    /// The type of its own error, `Never` for none.
    pub fails: String,
    /// Whether calling it twice does no more than calling it once.
    pub idempotent: bool,
    /// Whether nobody waits for its result.
    pub one_way: bool,
}

impl MethodDescription {
    /// Name, arguments and result on one line, as Rust has them.
    #[must_use]
    pub fn signature(&self) -> String {
        let mut text = format!("{}(", self.name);
        for (index, (name, ty)) in self.arguments.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // A String takes everything.
            let _ = write!(text, "{comma}{name}: {ty}");
        }
        text.push(')');
        let _ = match (&*self.returns, &*self.fails) {
            ("()", "Never") => Ok(()),
            (returns, "Never") => write!(text, " -> {returns}"),
            (returns, fails) => write!(text, " -> Result<{returns}, {fails}>"),
        };
        text
    }
}

impl From<&Interface> for Description {
    fn from(interface: &Interface) -> Self {
        Self {
            name: interface.name.to_owned(),
            docs: interface.docs.to_owned(),
            methods: interface.methods.iter().map(MethodDescription::from).collect(),
        }
    }
}

impl From<&Method> for MethodDescription {
    fn from(method: &Method) -> Self {
        let argument = |argument: &Argument| (argument.name.to_owned(), argument.ty.to_owned());
        Self {
            name: method.name.to_owned(),
            docs: method.docs.to_owned(),
            arguments: method.arguments.iter().map(argument).collect(),
            returns: method.returns.to_owned(),
            fails: method.fails.to_owned(),
            idempotent: method.idempotent,
            one_way: method.one_way,
        }
    }
}

/// The interfaces of a server.
pub(crate) struct Interfaces(pub(crate) Vec<&'static Interface>);

impl Directory for Interfaces {
    async fn list(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.iter().map(|interface| interface.name.to_owned()).collect();
        names.sort_unstable();
        names
    }

    async fn describe(&self, interface: String) -> Option<Description> {
        self.0.iter().find(|known| known.name == interface).map(|&known| known.into())
    }
}
