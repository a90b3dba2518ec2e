#[fixp_rpc::service]
trait Clock {
    async fn pattern(&self, (hour, minute): (u8, u8));
    async fn borrowed(&self, zone: &str);
    async fn within(&self, zones: Vec<&'static str>);
    async fn anything(&self, zone: impl ToString);
    async fn late(&self, zone: String, context: fixp_rpc::Context);
    async fn returned(&self) -> &str;
    async fn failed(&self) -> Result<u64, &'static str>;
    async fn half(&self) -> std::io::Result<u64>;
    async fn some(&self) -> impl ToString;
    async fn itself(&self, other: Self);
    async fn behind(&self, body: fixp_transport::Body, zone: String);
    #[one_way]
    async fn away(&self, body: fixp_transport::Body);
    #[idempotent]
    async fn again(&self) -> Result<(u8, fixp_transport::Body), u8>;
}

fn main() {}
