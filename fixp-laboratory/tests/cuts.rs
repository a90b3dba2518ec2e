//! Connections cut at every byte, in both directions, in three ways.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Tested, ip, ms, pair, pattern, two};
use fixp_laboratory::{Cut, Direction, HostConfig, Laboratory, LinkConfig, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const LEN: usize = 24;

/// Reads until there is no more: what came, and how it ended.
async fn read(stream: &mut Stream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut came = Vec::new();
    let mut piece = [0; 5];
    loop {
        match timeout(Duration::from_secs(10), stream.read(&mut piece)).await {
            Ok(Ok(0)) => return (came, None),
            Ok(Ok(len)) => came.extend_from_slice(&piece[..len]),
            Ok(Err(error)) => return (came, Some(error.kind())),
            Err(_) => return (came, Some(ErrorKind::WouldBlock)),
        }
    }
}

#[test]
fn exactly_so_many_bytes_come() -> Tested {
    for delay in [0, 7] {
        for mtu in [1, 7, 1_460] {
            for direction in [Direction::ToServer, Direction::ToClient] {
                for (cut, expected) in [
                    (Cut::Reset, Some(ErrorKind::ConnectionReset)),
                    (Cut::Fin, None),
                    (Cut::Silence, Some(ErrorKind::WouldBlock)),
                ] {
                    for after in 0..=LEN {
                        let case = format!("{delay} ms, mtu {mtu}, {direction:?}, {cut:?} after {after}");
                        Laboratory::run("cuts", |lab| async move {
                            lab.set_links(LinkConfig::default().with_delay(ms(delay)).with_mtu(mtu));
                            lab.on_next_connection(ip(1), ip(2)).cut_after(direction, after as u64, cut);
                            let (client, server) = pair(&lab).await?;
                            let (mut reader, mut writer) = match direction {
                                Direction::ToServer => (server, client),
                                Direction::ToClient => (client, server),
                            };
                            // The other direction has come before the cut, unless that is before everything.
                            if after > 0 {
                                reader.write_all(b"back").await?;
                            }
                            // A cut at the very beginning may be known before anything is written.
                            let wrote = writer.write_all(&pattern(LEN)).await;
                            assert!(wrote.is_ok() || after == 0, "{case}");
                            let (came, end) = read(&mut reader).await;
                            assert_eq!((&came[..], end), (&pattern(LEN)[..after], expected), "{case}");
                            let (came, end) = read(&mut writer).await;
                            assert_eq!(end, expected, "the writer: {case}");
                            assert!(came == b"back" || after == 0, "the writer: {case}: {came:?}");
                            Tested::Ok(())
                        })?;
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_not_reached_does_not_happen() -> Tested {
    Laboratory::run("unreached", |lab| async move {
        lab.on_next_connection(ip(1), ip(2)).cut_after(Direction::ToServer, LEN as u64 + 1, Cut::Reset);
        let (mut client, mut server) = pair(&lab).await?;
        client.write_all(&pattern(LEN)).await?;
        client.shutdown().await?;
        assert_eq!(read(&mut server).await, (pattern(LEN), None));
        server.write_all(&pattern(3 * LEN)).await?;
        drop(server);
        assert_eq!(read(&mut client).await, (pattern(3 * LEN), None));
        Ok(())
    })
}

#[test]
fn a_rule_is_for_one_connection_to_its_port() -> Tested {
    Laboratory::run("rules", |lab| async move {
        let (a, b) = two(&lab);
        let (one, two) = (b.listen(1)?, b.listen(2)?);
        // The second rule is for the second connection that it fits.
        lab.on_next_connection(a.ip(), b.ip()).to_port(2).cut_after(Direction::ToServer, 2, Cut::Fin);
        lab.on_next_connection(a.ip(), b.ip()).to_port(2).cut_after(Direction::ToServer, 4, Cut::Fin);
        let mut came = Vec::new();
        for listener in [&one, &two, &one, &two, &two] {
            let mut client = a.connect(listener.local_addr()).await?;
            let (mut server, _) = listener.accept().await?;
            client.write_all(&pattern(LEN)).await?;
            drop(client);
            came.push(read(&mut server).await.0.len());
        }
        assert_eq!(came, [LEN, 2, LEN, 4, LEN]);
        Ok(())
    })
}

#[test]
fn a_connection_is_cut_from_afar() -> Tested {
    Laboratory::run("afar", |lab| async move {
        let (mut client, mut server) = pair(&lab).await?;
        assert_eq!(lab.connections(ip(2), ip(1)), [client.id()]);
        assert_eq!(client.id(), server.id());
        client.write_all(&pattern(10)).await?;
        lab.cut_after(client.id(), Direction::ToServer, 15, Cut::Reset);
        client.write_all(&pattern(4)).await?;
        let mut came = [0; 14];
        server.read_exact(&mut came).await?;
        client.write_all(&pattern(10)).await?;
        assert_eq!(read(&mut server).await, (pattern(1), Some(ErrorKind::ConnectionReset)));
        // What has been passed already is cut at once.
        let (client, mut server) = pair(&lab).await?;
        lab.cut_after(client.id(), Direction::ToServer, 0, Cut::Fin);
        assert_eq!(read(&mut server).await, (vec![], None));
        Ok(())
    })
}

#[test]
fn after_a_fin_the_reader_cannot_write_and_the_writer_learns_of_it() -> Tested {
    Laboratory::run("after-fin", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(5)));
        lab.on_next_connection(ip(1), ip(2)).cut_after(Direction::ToServer, 3, Cut::Fin);
        let (mut client, mut server) = pair(&lab).await?;
        client.write_all(&pattern(LEN)).await?;
        assert_eq!(read(&mut server).await, (pattern(3), None));
        assert_eq!(server.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(read(&mut client).await, (vec![], None));
        client.write_all(b"more").await?;
        tokio::time::sleep(ms(20)).await;
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(read(&mut server).await, (vec![], None), "the end stays the end");
        Ok(())
    })
}

#[test]
fn after_silence_the_writer_gives_up() -> Tested {
    Laboratory::run("silence", |lab| async move {
        lab.set_hosts(HostConfig::default().with_give_up(Duration::from_secs(100)));
        lab.on_next_connection(ip(1), ip(2)).cut_after(Direction::ToClient, 3, Cut::Silence);
        let (mut client, mut server) = pair(&lab).await?;
        server.write_all(&pattern(LEN)).await?;
        let mut came = [0; 3];
        client.read_exact(&mut came).await?;
        let error = server.read(&mut came).await.unwrap_err();
        assert_eq!((error.kind(), lab.now()), (ErrorKind::TimedOut, Duration::from_secs(100)));
        // The other, which has sent nothing, would wait for ever.
        assert!(timeout(Duration::from_secs(1_000), client.read(&mut came)).await.is_err());
        Ok(())
    })
}
