//! Streams keep what TCP promises, whatever the link does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

use common::{Tested, ip, ms, pair, pattern, two};
use fixp_laboratory::{HostConfig, Laboratory, LinkConfig};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_content_are_kept(
        seed: u64,
        writes in prop::collection::vec(0_usize..5_000, 1..40),
        reads in 1_usize..4_000,
        loss in 0.0..0.4,
        jitter in 0_u64..80,
        mtu in 10_usize..2_000,
        bandwidth in prop::option::of(20_000_u64..2_000_000),
        buffer in 100_usize..20_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let whole = async {
            let lab = Laboratory::new(seed);
            let patient = HostConfig::default().with_connect_timeout(Duration::from_secs(20_000));
            lab.set_hosts(patient.with_send_buffer(buffer).with_receive_buffer(buffer));
            lab.set_links(LinkConfig {
                bandwidth,
                ..LinkConfig::default()
                    .with_delay(ms(10))
                    .with_jitter(ms(jitter))
                    .with_loss(loss)
                    .with_duplicate(0.05)
                    .with_reorder(0.05, ms(30))
                    .with_corrupt(0.5)
                    .with_mtu(mtu)
            });
            let (mut client, mut server) = pair(&lab).await.expect("connected");
            let all = pattern(writes.iter().sum());
            let expected = all.clone();
            let writer = tokio::spawn(async move {
                let mut rest = &all[..];
                for len in writes {
                    client.write_all(&rest[..len]).await?;
                    rest = &rest[len..];
                }
                client.shutdown().await?;
                // The other direction, after the end of this one.
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).await?;
                std::io::Result::Ok(answer)
            });
            let mut came = Vec::new();
            let mut piece = vec![0; reads];
            loop {
                match server.read(&mut piece).await.expect("no error") {
                    0 => break,
                    len => came.extend_from_slice(&piece[..len]),
                }
            }
            assert!(came == expected, "content");
            server.write_all(b"all of it").await.expect("half-open");
            drop(server);
            assert_eq!(writer.await.expect("no panic").expect("no error"), b"all of it");
        };
        runtime.block_on(async { timeout(Duration::from_secs(100_000), whole).await.expect("no hang") });
    }
}

#[test]
fn time_is_that_of_the_link() -> Tested {
    Laboratory::run("time", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(10)).with_bandwidth(100_000));
        let (mut client, mut server) = pair(&lab).await?;
        // SYN, its answer, and the answer to that.
        assert_eq!(lab.now(), ms(30));
        client.write_all(&pattern(50_000)).await?;
        let mut came = vec![0; 50_000];
        server.read_exact(&mut came).await?;
        assert_eq!(lab.now(), ms(30 + 500 + 10));
        assert!(came == pattern(50_000));
        Ok(())
    })
}

#[test]
fn a_loss_costs_a_retransmission_and_nothing_else() -> Tested {
    Laboratory::run("retransmission", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(10)));
        let (mut client, mut server) = pair(&lab).await?;
        // Everything is lost for a moment.
        lab.partition_one_way(ip(1), ip(2));
        let start = lab.now();
        client.write_all(&pattern(10_000)).await?;
        lab.heal(ip(1), ip(2));
        let mut came = vec![0; 10_000];
        server.read_exact(&mut came).await?;
        assert_eq!(lab.now() - start, ms(200 + 10));
        Ok(())
    })
}

#[test]
fn a_slow_link_sends_nothing_twice() -> Tested {
    Laboratory::run("slow", |lab| async move {
        // A window takes ten times as long as the patience of the sender would last.
        lab.set_links(LinkConfig::default().with_delay(ms(100)).with_bandwidth(10_000));
        let (client, server) = pair(&lab).await?;
        let start = lab.now();
        let (mut client_read, mut client_write) = tokio::io::split(client);
        let (mut server_read, mut server_write) = tokio::io::split(server);
        let sent = pattern(200_000);
        let mut came = [vec![0; 200_000], vec![0; 200_000]];
        let [there, back] = &mut came;
        tokio::try_join!(
            client_write.write_all(&sent),
            server_write.write_all(&sent),
            async { server_read.read_exact(there).await.map(drop) },
            async { client_read.read_exact(back).await.map(drop) },
        )?;
        assert_eq!(lab.now() - start, ms(20_000 + 100));
        assert!(came.iter().all(|came| *came == sent));
        Ok(())
    })
}

#[test]
fn a_reader_that_stops_stalls_the_writer() -> Tested {
    Laboratory::run("stall", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(5)));
        lab.set_hosts(HostConfig::default().with_send_buffer(10_000).with_receive_buffer(5_000));
        let (mut client, mut server) = pair(&lab).await?;
        let sent = pattern(100_000);
        let mut written = 0;
        // Both buffers are full, and stay so for ten minutes, which is no reason to give up.
        while let Ok(len) = timeout(Duration::from_secs(600), client.write(&sent[written..])).await {
            written += len?;
        }
        assert_eq!(written, 15_000);
        assert!(lab.now() > Duration::from_secs(600));
        tokio::time::sleep(Duration::from_secs(1_800)).await;
        let mut came = vec![0; 15_000];
        server.read_exact(&mut came).await?;
        client.write_all(&sent[written..20_000]).await?;
        came.resize(20_000, 0);
        server.read_exact(&mut came[15_000..]).await?;
        assert_eq!(came, sent[..20_000]);
        Ok(())
    })
}

#[test]
fn a_lost_word_of_room_is_asked_for() -> Tested {
    Laboratory::run("probe", |lab| async move {
        lab.set_hosts(HostConfig::default().with_receive_buffer(1_000));
        let (mut client, mut server) = pair(&lab).await?;
        client.write_all(&pattern(2_000)).await?;
        lab.partition(ip(1), ip(2));
        let mut came = vec![0; 2_000];
        server.read_exact(&mut came[..1_000]).await?;
        tokio::time::sleep(ms(5_000)).await;
        lab.heal(ip(1), ip(2));
        server.read_exact(&mut came[1_000..]).await?;
        assert_eq!(came, pattern(2_000));
        Ok(())
    })
}

#[test]
fn half_closed_the_other_direction_goes_on() -> Tested {
    Laboratory::run("half", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(5)));
        let (mut client, mut server) = pair(&lab).await?;
        client.write_all(b"question").await?;
        client.shutdown().await?;
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut read = String::new();
        server.read_to_string(&mut read).await?;
        assert_eq!(read, "question");
        for _ in 0..100 {
            server.write_all(&pattern(1_000)).await?;
        }
        drop(server);
        let mut came = Vec::new();
        client.read_to_end(&mut came).await?;
        assert_eq!(came.len(), 100_000);
        // The end is the end, however often it is read.
        assert_eq!(client.read(&mut [0; 8]).await?, 0);
        Ok(())
    })
}

#[test]
fn vectored_writes_are_one_stream() -> Tested {
    Laboratory::run("vectored", |lab| async move {
        lab.set_hosts(HostConfig::default().with_send_buffer(10).with_receive_buffer(1));
        let (mut client, mut server) = pair(&lab).await?;
        let pieces =
            [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two "), IoSlice::new(b"three")];
        // One byte is with the reader at once.
        assert_eq!(client.write_vectored(&pieces).await?, 10);
        drop(client);
        let mut came = String::new();
        server.read_to_string(&mut came).await?;
        assert_eq!(came, "one two th");
        Ok(())
    })
}

#[test]
fn a_stream_dropped_unread_is_reset() -> Tested {
    Laboratory::run("unread", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(5)));
        let (mut client, mut server) = pair(&lab).await?;
        server.write_all(b"before").await?;
        client.write_all(b"nobody reads this").await?;
        tokio::time::sleep(ms(20)).await;
        drop(server);
        tokio::time::sleep(ms(20)).await;
        // What has come can be read, then there is the reset, as often as one asks.
        let mut came = [0; 6];
        client.read_exact(&mut came).await?;
        assert_eq!(&came, b"before");
        for _ in 0..2 {
            assert_eq!(client.read(&mut came).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        Ok(())
    })
}

#[test]
fn writing_to_one_that_has_closed_is_answered_with_a_reset() -> Tested {
    Laboratory::run("closed", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(5)));
        let (mut client, server) = pair(&lab).await?;
        drop(server);
        tokio::time::sleep(ms(20)).await;
        client.write_all(b"goes out").await?;
        tokio::time::sleep(ms(20)).await;
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        // It had ended in order before.
        assert_eq!(client.read(&mut [0; 8]).await?, 0);
        Ok(())
    })
}

#[test]
fn bits_are_flipped_in_streams_only_if_told_so() -> Tested {
    for told in [false, true] {
        Laboratory::run("flipped", |lab| async move {
            let config = LinkConfig::default().with_corrupt(1.0).with_corrupt_streams(told).with_mtu(100);
            lab.link_one_way(ip(1), ip(2), config);
            let (mut client, mut server) = pair(&lab).await?;
            client.write_all(&[0; 1_000]).await?;
            let mut came = [0; 1_000];
            server.read_exact(&mut came).await?;
            let bits: Vec<u32> =
                came.chunks(100).map(|segment| segment.iter().map(|byte| byte.count_ones()).sum()).collect();
            assert_eq!(bits, [u32::from(told); 10]);
            Tested::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn nothing_is_left_of_closed_connections() -> Tested {
    Laboratory::run("closing", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(3)).with_loss(0.3).with_duplicate(0.2));
        let (a, b) = two(&lab);
        let listener = b.listen(1)?;
        for nth in 0..100 {
            let (client, server) = tokio::join!(a.connect(listener.local_addr()), listener.accept());
            let (mut client, (mut server, _)) = (client?, server?);
            client.write_all(b"hello").await?;
            match nth % 3 {
                0 => drop(server),
                1 => drop(client),
                _ => {
                    client.shutdown().await?;
                    server.read_to_end(&mut Vec::new()).await?;
                }
            }
        }
        // Half an hour is longer than anybody waits for an acknowledgement.
        tokio::time::sleep(Duration::from_secs(1_800)).await;
        assert_eq!(lab.connections(a.ip(), b.ip()), []);
        Ok(())
    })
}
