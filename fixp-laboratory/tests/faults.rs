//! Partitions, crashes, refusals.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Tested, ip, ms, pair, pattern, two};
use fixp_laboratory::{HostConfig, Laboratory, LinkConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

#[test]
fn nobody_listens() -> Tested {
    Laboratory::run("refused", |lab| async move {
        let (a, b) = two(&lab);
        lab.set_links(LinkConfig::default().with_delay(ms(10)));
        let address = "10.0.0.2:7".parse()?;
        assert_eq!(a.connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(lab.now(), ms(20), "a round trip");
        let listener = b.listen(7)?;
        assert_eq!(b.listen(7).unwrap_err().kind(), ErrorKind::AddrInUse);
        // Accepted or not, a connection is made; and one not accepted is reset with its listener.
        let mut stream = a.connect(address).await?;
        drop(listener);
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(a.connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        b.listen(7)?;
        for impossible in ["[::1]:7", "10.0.0.2:0"] {
            assert_eq!(a.connect(impossible.parse()?).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        Ok(())
    })
}

#[test]
fn nobody_answers() -> Tested {
    Laboratory::run("timeout", |lab| async move {
        let (a, b) = two(&lab);
        let listener = b.listen(7)?;
        let nowhere = "10.9.9.9:7".parse()?;
        assert_eq!(a.connect(nowhere).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(lab.now(), Duration::from_secs(60));
        a.set(HostConfig::default().with_connect_timeout(ms(1_500)));
        // The question gets there, the answer does not come back: then nothing is left to accept.
        lab.partition_one_way(b.ip(), a.ip());
        assert_eq!(a.connect(listener.local_addr()).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(lab.now(), Duration::from_secs(60) + ms(1_500));
        lab.heal(a.ip(), b.ip());
        assert!(timeout(Duration::from_secs(100), listener.accept()).await.is_err());
        assert_eq!(lab.connections(a.ip(), b.ip()), []);
        Ok(())
    })
}

#[test]
fn connecting_can_be_given_up() -> Tested {
    Laboratory::run("cancelled", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(10)));
        let (a, b) = two(&lab);
        let listener = b.listen(7)?;
        assert!(timeout(ms(15), a.connect(listener.local_addr())).await.is_err());
        assert!(timeout(ms(1_000), listener.accept()).await.is_err());
        assert_eq!(lab.connections(a.ip(), b.ip()), []);
        Ok(())
    })
}

#[test]
fn the_backlog_is_bounded() -> Tested {
    Laboratory::run("backlog", |lab| async move {
        let (a, b) = two(&lab);
        b.set(HostConfig::default().with_backlog(2));
        let listener = b.listen(7)?;
        let _one = a.connect(listener.local_addr()).await?;
        let _two = a.connect(listener.local_addr()).await?;
        let mut third = std::pin::pin!(a.connect(listener.local_addr()));
        assert!(timeout(ms(5_000), &mut third).await.is_err());
        let _accepted = listener.accept().await?;
        third.await?;
        Ok(())
    })
}

#[test]
fn a_partition_delays_and_is_healed() -> Tested {
    Laboratory::run("partition", |lab| async move {
        let (mut client, mut server) = pair(&lab).await?;
        lab.partition(ip(1), ip(2));
        client.write_all(&pattern(30_000)).await?;
        server.write_all(b"back").await?;
        let mut came = vec![0; 30_000];
        assert!(timeout(Duration::from_secs(120), server.read(&mut came)).await.is_err());
        lab.heal(ip(1), ip(2));
        server.read_exact(&mut came).await?;
        assert_eq!(came, pattern(30_000));
        client.read_exact(&mut came[..4]).await?;
        assert!(lab.now() <= Duration::from_secs(180), "attempts are at most a minute apart");
        Ok(())
    })
}

#[test]
fn a_partition_for_ever_ends_the_connection() -> Tested {
    Laboratory::run("give-up", |lab| async move {
        let (mut client, mut server) = pair(&lab).await?;
        tokio::time::sleep(ms(500)).await;
        lab.partition(ip(1), ip(2));
        client.write_all(b"anybody?").await?;
        let error = client.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!((error.kind(), lab.now()), (ErrorKind::TimedOut, ms(500) + Duration::from_secs(900)));
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::TimedOut);
        // The other end has sent nothing, and knows nothing, until it does.
        lab.heal(ip(1), ip(2));
        assert!(timeout(ms(1_000), server.read(&mut [0; 8])).await.is_err());
        server.write_all(b"hello").await?;
        assert_eq!(server.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        Ok(())
    })
}

#[test]
fn a_crash_leaves_the_connection_half_open() -> Tested {
    Laboratory::run("crash", |lab| async move {
        let (a, b) = two(&lab);
        let listener = b.listen(7)?;
        let socket = b.bind(7)?;
        let mut client = a.connect(listener.local_addr()).await?;
        let (mut server, _) = listener.accept().await?;
        client.write_all(b"unread").await?;
        b.crash();
        let aborted = ErrorKind::ConnectionAborted;
        assert_eq!(server.read(&mut [0; 8]).await.unwrap_err().kind(), aborted);
        assert_eq!(server.write(b"x").await.unwrap_err().kind(), aborted);
        assert_eq!(listener.accept().await.unwrap_err().kind(), aborted);
        assert_eq!(socket.recv_from(&mut [0; 8]).await.unwrap_err().kind(), aborted);
        assert_eq!(socket.send_to(b"x", client.local_addr()).unwrap_err().kind(), aborted);
        assert_eq!(b.listen(8).unwrap_err().kind(), ErrorKind::NetworkDown);
        assert_eq!(b.connect(client.local_addr()).await.unwrap_err().kind(), ErrorKind::NetworkDown);
        drop(server);
        assert_eq!(lab.connections(a.ip(), b.ip()), [client.id()]);

        // The peer is not told.
        client.write_all(b"anybody?").await?;
        assert!(timeout(Duration::from_secs(60), client.read(&mut [0; 8])).await.is_err());
        // After the restart it learns by its next attempt, and there is a new listener; the old ones take
        // nothing away when they go.
        b.restart();
        let again = b.listen(7)?;
        let bound = b.bind(7)?;
        drop((listener, socket));
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let _client = a.connect(again.local_addr()).await?;
        a.bind(0)?.send_to(b"there", bound.local_addr())?;
        assert_eq!(bound.recv_from(&mut [0; 8]).await?.0, 5);
        Ok(())
    })
}

#[test]
fn a_crash_for_ever_times_out() -> Tested {
    Laboratory::run("crash-for-ever", |lab| async move {
        let (mut client, _server) = pair(&lab).await?;
        lab.host(ip(2)).crash();
        client.write_all(b"anybody?").await?;
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(lab.now(), HostConfig::default().give_up);
        Ok(())
    })
}

#[test]
fn a_reset_host_resets_all_its_connections() -> Tested {
    Laboratory::run("reset", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(10)));
        let (mut one, mut same) = pair(&lab).await?;
        let (mut two, _keep) = pair(&lab).await?;
        let start = lab.now();
        lab.host(ip(2)).reset();
        assert_eq!(same.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(lab.now(), start);
        for client in [&mut one, &mut two] {
            assert_eq!(client.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(lab.now() - start, ms(10));
        // The host is there, and takes new ones.
        pair(&lab).await?;
        Ok(())
    })
}

#[test]
fn a_crash_takes_what_was_not_accepted() -> Tested {
    Laboratory::run("not-accepted", |lab| async move {
        let (a, b) = two(&lab);
        let listener = b.listen(7)?;
        let client = a.connect(listener.local_addr()).await?;
        b.crash();
        drop(client);
        tokio::time::sleep(Duration::from_secs(1_000)).await;
        assert_eq!(lab.connections(a.ip(), b.ip()), []);
        Ok(())
    })
}
