#[fixp_rpc::service]
trait Clock {
    fn now(&self) -> u64;
    async fn zone(&self) -> String {
        "UTC".to_owned()
    }
    async fn in_zone<Z>(&self, zone: Z) -> u64;
    async unsafe fn set(&self, now: u64);
    async fn until(&self) -> u64
    where
        Self: Sized;

    async fn twice(&self);
    async fn twice(&self, again: bool);

    async fn new(&self);

    async fn of_nobody();
    async fn of_another(now: u64) -> u64;
    async fn mutable(&mut self);
    async fn owned(self);
    async fn boxed(self: Box<Self>);

    #[idempotent(always)]
    async fn always(&self) -> u64;
    #[one_way = true]
    async fn one_way(&self, now: u64);
    #[one_way]
    async fn wound(&self) -> bool;
    #[idempotent]
    #[idempotent]
    async fn marked_twice(&self);

    #[cfg(unix)]
    async fn at_times(&self);
    async fn zähle(&self);
    async fn may_be_missing(&self, #[serde(default)] now: u64);
}

fn main() {}
