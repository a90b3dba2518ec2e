#[fixp_rpc::service]
struct NoTrait;

#[fixp_rpc::service(version = "2")]
trait Version {}

#[fixp_rpc::service("clock")]
trait NoWord {}

#[fixp_rpc::service(name = 7)]
trait NoText {}

#[fixp_rpc::service(name = "clock", name = "watch")]
trait Twice {}

#[fixp_rpc::service(name = "")]
trait Nameless {}

#[fixp_rpc::service(name = "the clock")]
trait Strange {}

#[fixp_rpc::service]
trait Uhr端 {}

#[fixp_rpc::service]
trait Generic<Zone> {}

#[fixp_rpc::service]
trait Below: Clone + Send {}

#[fixp_rpc::service]
trait Bounded
where
    Self: Sized,
{
}

#[fixp_rpc::service]
unsafe trait Unsafe {}

#[fixp_rpc::service]
trait Items {
    type Zone;
    const PRECISION: u64;
}

#[fixp_rpc::service(java = "demo.Streams")]
trait Streams {
    async fn read(&self) -> Body;
}

#[fixp_rpc::service(java = "demo.Names")]
trait Names {
    async fn current_time(&self) -> i64;
    async fn currentTime(&self) -> i64;
}

#[fixp_rpc::service(name = "fixp")]
trait Reserved {}

fn main() {}
