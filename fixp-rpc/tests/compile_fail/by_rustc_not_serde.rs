struct Argument;
struct Value;
struct Failure;

#[fixp_rpc::service]
trait Clock {
    async fn set(&self, time: Argument);
    async fn now(&self) -> Value;
    async fn stop(&self) -> Result<(), Failure>;
}

fn main() {}
