//! A type of the user's own that has the context's name.

struct Context {
    _user: String,
}

#[fixp_rpc::service]
trait Log {
    async fn append(&self, context: Context, line: String) -> u64;
}

fn main() {}
