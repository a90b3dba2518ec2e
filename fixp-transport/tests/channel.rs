//! The channel over loopback.

use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::{CallOptions, Cause, Channel, Echo, Fate, Reply, Request, Server, handler_fn};

const BOTH: [&Dialect; 2] = [&LEXST1, &LAXCUS6];

fn request(dialect: &Dialect) -> Packet {
    Packet::new(if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG })
}

#[tokio::test]
async fn many_at_once_each_gets_its_own_answer() {
    for dialect in BOTH {
        for extensions in [true, false] {
            let server = Server::builder(Echo).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
            let peer = server.local_addr().unwrap();
            let channel =
                Channel::builder(dialect).extensions(extensions).depth(64).connect(peer).await.unwrap();
            let calls = (0..1000).map(|n: u32| {
                let channel = channel.clone();
                async move {
                    let entity = n.to_le_bytes().repeat(n as usize % 100 + 1);
                    let answer = channel.call(request(dialect).with_entity(entity.clone())).await.unwrap();
                    assert_eq!(answer.entity, entity);
                }
            });
            futures_util::future::join_all(calls).await;
            let stats = channel.stats();
            assert_eq!((stats.requests, stats.answered, stats.connections), (1000, 1000, 1));
            assert!(stats.writes < 500, "{stats:?}");
            channel.close().await;
        }
    }
}

/// SPEC 10.3, 10.4
#[tokio::test]
async fn a_slow_answer_holds_back_no_other_between_our_own() {
    let handler = handler_fn(async |request: Request| {
        if request.packet.entity.is_empty() {
            std::future::pending::<()>().await;
        }
        Reply::from(Packet::new(laxcus6::answer::OKAY).with_entity(request.packet.entity))
    });
    let server = Server::builder(handler).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let options = CallOptions { timeout: Some(Duration::from_millis(300)), ..CallOptions::default() };
    let slow = channel.try_call(request(&LAXCUS6), options).unwrap();
    for _ in 0..100 {
        channel.call(request(&LAXCUS6).with_entity("quick")).await.unwrap();
    }
    let error = slow.await.unwrap_err();
    assert_eq!((error.cause, error.fate), (Cause::Timeout, Fate::PossiblyExecuted));
    // The connection is as good as before.
    channel.call(request(&LAXCUS6).with_entity("still there")).await.unwrap();
    assert_eq!(channel.stats().connections, 1);
}

#[tokio::test]
async fn large_entities_go_through_in_pieces() {
    use fixp_transport::Body;
    for dialect in BOTH {
        let server = Server::builder(Echo).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let channel = Channel::builder(dialect).connect(server.local_addr().unwrap()).await.unwrap();
        for len in [0_u64, 1, 65536, 262_144, 262_145, 3 << 20] {
            let body = Body::from_reader(len, tokio::io::repeat(7));
            let mut answer = channel.transfer(request(dialect), body).await.unwrap();
            assert_eq!(answer.body.len(), len);
            let mut came = 0;
            while let Some(piece) = answer.body.chunk().await {
                let piece = piece.unwrap();
                assert!(piece.iter().all(|byte| *byte == 7));
                came += piece.len() as u64;
            }
            assert_eq!(came, len);
        }
        // The connections were used again.
        assert!(server.stats().accepted <= 3, "{:?}", server.stats());
    }
}
