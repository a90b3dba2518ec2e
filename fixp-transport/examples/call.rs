//! Calls a server in every way: TCP, ordered, bulk, UDP, in both dialects. The server must echo.
//!
//!     cargo run --example call -- 127.0.0.1:5000

use std::error::Error;
use std::net::SocketAddr;

use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::rate::RateLimiter;
use fixp_transport::{Body, Channel, udp};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server: SocketAddr = std::env::args().nth(1).ok_or("call ADDR:PORT")?.parse()?;
    for dialect in [&LEXST1, &LAXCUS6] {
        talk(dialect, server).await?;
    }
    Ok(())
}

async fn talk(dialect: &'static Dialect, server: SocketAddr) -> Result<(), Box<dyn Error>> {
    let log = || match dialect.name() {
        "lexst1" => Packet::new(lexst1::app::ADD_LOG),
        _ => Packet::new(laxcus6::notify::FLUSH_LOG),
    };
    let channel = Channel::builder(dialect).connect(server).await?;
    let answer = channel.call(log().with_entity("over TCP")).await?;
    println!("{dialect}: {}, {} bytes of entity", answer.code, answer.entity.len());

    let rate = RateLimiter::new(100_000_000);
    let body = Body::from_reader(8 << 20, tokio::io::repeat(7)).paced(&rate);
    let answer = channel.transfer(log(), body).await?;
    println!("{dialect}: {} bytes in bulk", answer.body.collect(8 << 20).await?.len());
    channel.close().await;

    let ordered = Channel::builder(dialect).ordered().connect(server).await?;
    for number in 0..3 {
        ordered.call(log().with_entity(vec![number])).await?;
    }
    println!("{dialect}: {:?}", ordered.stats());
    ordered.close().await;

    let client = udp::Client::builder().dialect(dialect).build();
    let answer = client.request(server, log().with_entity("over UDP")).await?;
    println!("{dialect}: {}, {} bytes of entity", answer.code, answer.entity.len());
    client.exit(server).await?;
    Ok(())
}
