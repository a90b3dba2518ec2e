//! Names that what is made of an interface has, too.
#![deny(warnings)]

use std::sync::Arc;

mod generic {
    #[fixp_rpc::service]
    pub trait T {
        async fn f(&self) -> u8;
    }
}

#[fixp_rpc::service]
trait Methods {
    async fn clone(&self) -> u8;
    async fn run(&self, self_: u8) -> u8;
    async fn interface(&self);
    async fn inner(&self);
    async fn as_ref(&self) -> u8;
    async fn into(&self) -> u8;
    async fn map(&self) -> u8;
}

struct Mine;

impl generic::T for Mine {
    async fn f(&self) -> u8 {
        1
    }
}

impl Methods for Mine {
    async fn clone(&self) -> u8 {
        1
    }
    async fn run(&self, self_: u8) -> u8 {
        self_
    }
    async fn interface(&self) {}
    async fn inner(&self) {}
    async fn as_ref(&self) -> u8 {
        1
    }
    async fn into(&self) -> u8 {
        1
    }
    async fn map(&self) -> u8 {
        1
    }
}

fn main() {
    let rpc = fixp_rpc::Rpc::new().serve(generic::TService::new(Mine));
    let _ = rpc.serve(MethodsService::new(Arc::new(Mine)));
    assert_eq!(generic::TClient::INTERFACE.name, "T");
    assert_eq!(MethodsClient::INTERFACE.methods[0].path, "Methods.clone");
}
