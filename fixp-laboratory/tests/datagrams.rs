//! Sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::ErrorKind;
use std::net::SocketAddr;

use common::{Tested, ip, ms, two};
use fixp_laboratory::{HostConfig, Laboratory, LinkConfig, Verdict};
use tokio::time::timeout;

#[test]
fn datagrams_come_whole_and_say_from_whom() -> Tested {
    Laboratory::run("datagrams", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(4)));
        let (a, b) = two(&lab);
        let (a, b) = (a.bind(0)?, b.bind(500)?);
        assert_eq!(b.local_addr(), SocketAddr::new(ip(2), 500));
        assert_ne!(a.local_addr().port(), 0);
        assert_eq!(a.send_to(b"hello", b.local_addr())?, 5);
        a.send_to(b"", b.local_addr())?;
        a.send_to(&[7; 65_507], b.local_addr())?;
        a.send_to(b"longer than the buffer", b.local_addr())?;
        let mut buf = vec![0; 65_507];
        assert_eq!(b.recv_from(&mut buf).await?, (5, a.local_addr()));
        assert_eq!((&buf[..5], lab.now()), (&b"hello"[..], ms(4)));
        assert_eq!(b.recv_from(&mut buf).await?.0, 0);
        assert_eq!(b.recv_from(&mut buf).await?.0, 65_507);
        assert_eq!(b.recv_from(&mut buf[..6]).await?.0, 6);
        assert_eq!(&buf[..6], b"longer");
        assert!(timeout(ms(100), b.recv_from(&mut buf)).await.is_err());

        assert_eq!(a.send_to(&[0; 65_508], b.local_addr()).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(a.send_to(b"x", "[::1]:1".parse()?).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(lab.host(ip(2)).bind(500).unwrap_err().kind(), ErrorKind::AddrInUse);
        // To nowhere.
        a.send_to(b"x", "10.0.0.2:501".parse()?)?;
        a.send_to(b"x", "10.7.7.7:500".parse()?)?;
        drop(b);
        lab.host(ip(2)).bind(500)?;
        Ok(())
    })
}

#[test]
fn the_receive_queue_is_bounded() -> Tested {
    Laboratory::run("queue", |lab| async move {
        let (a, b) = two(&lab);
        b.set(HostConfig::default().with_datagram_queue(1_000));
        let (a, b) = (a.bind(0)?, b.bind(0)?);
        for nth in 0..20 {
            a.send_to(&[nth; 100], b.local_addr())?;
        }
        let mut came = Vec::new();
        let mut buf = [0; 100];
        while let Ok(received) = timeout(ms(1), b.recv_from(&mut buf)).await {
            assert_eq!(received?.0, 100);
            came.push(buf[0]);
        }
        // Each counts 32 bytes more, so that empty ones are bounded too.
        assert_eq!(came, [0, 1, 2, 3, 4, 5, 6]);
        a.send_to(b"room again", b.local_addr())?;
        b.recv_from(&mut buf).await?;
        Ok(())
    })
}

#[test]
fn every_task_that_waits_is_woken() -> Tested {
    Laboratory::run("waiting", |lab| async move {
        let (a, b) = two(&lab);
        let (a, b) = (a.bind(0)?, std::sync::Arc::new(b.bind(0)?));
        let address = b.local_addr();
        let receive = |socket: std::sync::Arc<fixp_laboratory::Socket>| async move {
            socket.recv_from(&mut [0; 8]).await.map(|(len, _)| len)
        };
        let tasks = [tokio::spawn(receive(b.clone())), tokio::spawn(receive(b))];
        tokio::time::sleep(ms(1)).await;
        a.send_to(b"1", address)?;
        a.send_to(b"22", address)?;
        let mut lens = Vec::new();
        for task in tasks {
            lens.push(task.await??);
        }
        lens.sort_unstable();
        assert_eq!(lens, [1, 2]);
        Ok(())
    })
}

#[test]
fn filters_and_partitions_are_for_sockets_too() -> Tested {
    Laboratory::run("filters", |lab| async move {
        let (a, b) = two(&lab);
        let (a, b) = (a.bind(0)?, b.bind(0)?);
        lab.filter(ip(1), ip(2), |datagram, nth| match (datagram, nth) {
            (b"lose", _) => Verdict::Drop,
            (_, 0) => Verdict::Delay(ms(50)),
            _ => Verdict::Pass,
        });
        a.send_to(b"late", b.local_addr())?;
        a.send_to(b"lose", b.local_addr())?;
        a.send_to(b"soon", b.local_addr())?;
        let mut buf = [0; 4];
        b.recv_from(&mut buf).await?;
        assert_eq!((&buf, lab.now()), (b"soon", ms(0)));
        b.recv_from(&mut buf).await?;
        assert_eq!((&buf, lab.now()), (b"late", ms(50)));
        lab.partition(ip(1), ip(2));
        a.send_to(b"gone", b.local_addr())?;
        assert!(timeout(ms(100), b.recv_from(&mut buf)).await.is_err());
        Ok(())
    })
}

#[test]
fn less_than_a_millisecond_is_kept_by_the_network() -> Tested {
    Laboratory::run("micro", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(std::time::Duration::from_micros(10)));
        let (a, b) = two(&lab);
        let (a, b) = (a.bind(0)?, b.bind(0)?);
        a.send_to(b"x", b.local_addr())?;
        b.recv_from(&mut [0; 1]).await?;
        assert_eq!(lab.now(), ms(1), "the program sees it at its next tick");
        Ok(())
    })
}
