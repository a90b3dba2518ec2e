use std::rc::Rc;

#[fixp_rpc::service]
trait Clock {
    async fn now(&self) -> u64;
    async fn set(&self, now: u64);
}

struct LacksOne;

impl Clock for LacksOne {
    async fn now(&self) -> u64 {
        7
    }
}

struct OtherType;

impl Clock for OtherType {
    async fn now(&self) -> u32 {
        7
    }
    async fn set(&self, _: u64) {}
}

struct NotSend;

impl Clock for NotSend {
    async fn now(&self) -> u64 {
        let now = Rc::new(7);
        std::future::ready(()).await;
        *now
    }
    async fn set(&self, _: u64) {}
}

fn main() {}
