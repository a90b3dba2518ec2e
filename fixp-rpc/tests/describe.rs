//! What a server tells of itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use fixp_codec::LAXCUS6;
use fixp_rpc::describe::DirectoryClient;
use fixp_rpc::{Client, Failure, Format, Never, Rpc};
use fixp_transport::{Channel, Server};

#[fixp_rpc::service]
trait Clock {
    /// The time, in milliseconds.
    #[idempotent]
    async fn now(&self) -> u64;
}

struct Stopped;

impl Clock for Stopped {
    async fn now(&self) -> u64 {
        7
    }
}

/// The same interface, by another.
struct Late;

impl Clock for Late {
    async fn now(&self) -> u64 {
        8
    }
}

async fn serves(rpc: Rpc) -> (Server<Rpc>, Client) {
    let server = Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    (server, Client::over(channel))
}

/// SPEC 13.7, and what stands there to the byte.
#[tokio::test]
async fn an_interface_is_listed_and_described() {
    let (_server, client) = serves(Rpc::new().serve(ClockService::new(Stopped))).await;
    let directory = DirectoryClient::new(client.clone());
    assert_eq!(directory.list().await.unwrap(), ["Clock", "fixp"]);
    assert_eq!(directory.describe("clock".to_owned()).await, Ok(None));

    let spec = include_str!("../../docs/SPEC.md").split("**13.7**").nth(1).unwrap();
    let shown = spec.lines().find_map(|line| line.strip_prefix("    ")).unwrap();
    let json = client.format(Format::Json);
    for arguments in [r#"{"interface":"Clock"}"#, r#"["Clock"]"#] {
        let argument = Bytes::from(arguments);
        let told = json.call_written::<Never>("fixp.describe", true, false, argument).await.unwrap().unwrap();
        assert_eq!(told, shown);
    }
    let own = directory.describe("fixp".to_owned()).await.unwrap().unwrap();
    let signatures: Vec<_> = own.methods.iter().map(|method| method.signature()).collect();
    assert_eq!(signatures, ["list() -> Vec<String>", "describe(interface: String) -> Option<Description>"]);
}

#[tokio::test]
async fn an_interface_can_be_replaced_and_the_directory_left_out() {
    let rpc = Rpc::new().serve(ClockService::new(Stopped)).serve(ClockService::new(Late));
    assert_eq!(rpc.interfaces().map(|interface| interface.name).collect::<Vec<_>>(), ["fixp", "Clock"]);
    let (_server, client) = serves(rpc.undescribed()).await;
    assert_eq!(ClockClient::new(client.clone()).now().await, Ok(8));
    assert_eq!(DirectoryClient::new(client).list().await, Err(Failure::NoInterface));
}
