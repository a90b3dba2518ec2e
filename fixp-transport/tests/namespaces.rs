//! Two hosts over IPv6: network namespaces with a cable between them, made by the test itself. In the one a
//! server, in the other clients, both this program once more; the cable is pulled for two seconds. Then KEEP UDP over
//! a cable that loses datagrams.
//!
//! Needs Linux, `ip` and `tc` (iproute2) and the right to make namespaces, as root has. Where that is not given the test
//! passes, and says on the standard error that it was skipped. Where the kernel has no netem, what is lost is what a
//! short queue has no room for (tbf).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet, Value, laxcus6, lexst1};
use fixp_transport::heartbeat::{self, Event, Events, Service, State};
use fixp_transport::host::{Host, Node, Transport};
use fixp_transport::server::{AllowList, PublicKey};
use fixp_transport::{Body, Channel, Handler, Reply, Request, Server, keep, tables, udp};
use tokio::net::UdpSocket;

/// The name of the test, by which this program runs itself again, and the variable that says as what.
const TEST: &str = "two_hosts_over_ipv6";
const ROLE: &str = "FIXP_NAMESPACES_ROLE";
/// The variable that says the name of the server's namespace.
const OTHER: &str = "FIXP_NAMESPACES_SERVER";

const SERVER: Ipv6Addr = Ipv6Addr::new(0xfd0f, 0x1b00, 0, 0, 0, 0, 0, 1);
const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd0f, 0x1b00, 0, 0, 0, 0, 0, 2);
/// As lexst1 writes them.
const SERVER_TEXT: &str = "FD0F:1B00:0:0:0:0:0:1";
const CLIENT_TEXT: &str = "FD0F:1B00:0:0:0:0:0:2";
const PORT: u16 = 5000;
/// The end of the cable, in both.
const CABLE: &str = "cable";

const BOTH: [&Dialect; 2] = [&LEXST1, &LAXCUS6];

#[test]
fn two_hosts_over_ipv6() {
    match std::env::var(ROLE).as_deref() {
        Ok("server") => run(serve()),
        Ok(_) => run(clients()),
        Err(_) => conduct(),
    }
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future);
}

fn conduct() {
    let hosts = match Namespaces::new() {
        Ok(hosts) => hosts,
        Err(why) => {
            // Not by a macro, whose words are kept back when a test passes.
            let line = format!("\nSKIPPED: {TEST}: no network namespaces here: {}\n", why.trim());
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return;
        }
    };
    let mut server = Role(hosts.start(0, "server"));
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")), "the server did not start");
    let mut client = Role(hosts.start(1, "client"));
    let until = Instant::now() + Duration::from_secs(120);
    let status = loop {
        match client.0.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > until => break None,
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    // It writes little, so it has not waited for anybody to read.
    let _ = client.0.kill();
    let mut said = String::new();
    client.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    println!("{said}");
    assert!(
        status.is_some_and(|status| status.success()),
        "the client: {status:?} (nothing: it took too long)"
    );
}

/// Two namespaces, a cable between them. They go when this is dropped, and the cable with them.
struct Namespaces {
    names: [String; 2],
}

impl Namespaces {
    fn new() -> Result<Self, String> {
        if !cfg!(target_os = "linux") {
            return Err("this is not Linux".into());
        }
        let id = std::process::id();
        // From here on what has been made is removed again.
        let hosts = Self { names: [format!("fixp-{id}-server"), format!("fixp-{id}-client")] };
        let [server, client] = &hosts.names;
        for name in &hosts.names {
            ip(&["netns", "add", name])?;
            ip(&["netns", "exec", name, "true"])?;
        }
        ip(&["-n", server, "link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", client])?;
        for (name, address) in [(server, SERVER), (client, CLIENT)] {
            ip(&["-n", name, "link", "set", "lo", "up"])?;
            ip(&["-n", name, "link", "set", CABLE, "up"])?;
            ip(&["-n", name, "addr", "add", &format!("{address}/64"), "dev", CABLE, "nodad"])?;
        }
        Ok(hosts)
    }

    /// This program in one of them.
    fn start(&self, host: usize, role: &str) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.names[host]])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(ROLE, role)
            .env(OTHER, &self.names[0])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            // Perhaps it was never made.
            let _ = ip(&["netns", "del", name]);
        }
    }
}

/// This program in a namespace, ended when this is dropped.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|error| format!("ip: {error}"))?;
    let said = || format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(()).ok_or_else(said)
}

fn tc(words: &str) -> Result<String, String> {
    let output =
        Command::new("tc").args(words.split(' ')).output().map_err(|error| format!("tc: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

async fn serve() {
    let key = PublicKey::new(&[0xc5; 128], &[1, 0, 1]).unwrap();
    // Nobody forges an address here.
    let builder = Server::builder(Witness::default()).public_key(key).keep_allow(AllowList::everyone());
    let _server = builder.bind((Ipv6Addr::UNSPECIFIED, PORT).into()).start().await.unwrap();
    println!("ready");
    std::future::pending::<()>().await;
}

/// Says in its answers what it has seen: who asks, whom it asked, and what it calls itself (BIND_IP); and as the
/// entity the same of the last HELO of the dialect. A large entity comes back in its place.
#[derive(Default)]
struct Witness {
    helos: Mutex<HashMap<&'static str, String>>,
}

impl Handler for Witness {
    async fn handle(&self, request: Request) -> Reply {
        let Request { packet, body, peer, .. } = request;
        let habits = tables::of(peer.dialect);
        let own = habits.bind_ip.and_then(|key| packet.first(key)?.as_str());
        let seen = format!("{} {} {}", peer.addr.ip(), peer.local.ip(), own.unwrap_or("-"));
        let mut helos = self.helos.lock().unwrap();
        if packet.code == habits.helo {
            let code = if peer.dialect.name() == LEXST1.name() {
                lexst1::answer::ISEE
            } else {
                laxcus6::answer::ISEE
            };
            helos.insert(peer.dialect.name(), seen);
            return Packet::new(code).into();
        }
        let helo = helos.get(peer.dialect.name()).cloned().unwrap_or_default();
        let entity = if packet.entity.is_empty() { Bytes::from(helo) } else { packet.entity };
        let answer = Packet::new(habits.okay).with(laxcus6::key::SPEAK, seen).with_entity(entity);
        Reply::Answer(fixp_transport::Answer { body, ..answer.into() })
    }
}

/// Everything that is tried, in this order.
async fn clients() {
    let mut pairs = Vec::new();
    for dialect in BOTH {
        pairs.push(Pair::new(dialect).await);
    }
    for pair in &mut pairs {
        pair.addresses().await;
        pair.heart.until(|state| state == State::Up).await;
        pair.helo_address().await;
        pair.transfer().await;
    }
    let connections: Vec<u64> = pairs.iter().map(|pair| pair.channel.stats().connections).collect();
    ip(&["link", "set", CABLE, "down"]).unwrap();
    let pulled = Instant::now();
    for pair in &mut pairs {
        let error = pair.channel.call(request(pair.dialect)).await.unwrap_err();
        println!("{}: without the cable: {error}", pair.dialect);
        let error = pair.udp.request(peer(), request(pair.dialect)).await.unwrap_err();
        println!("{}: without the cable over UDP: {error}", pair.dialect);
        pair.heart.until(|state| state == State::Down).await;
    }
    tokio::time::sleep(Duration::from_secs(2).saturating_sub(pulled.elapsed())).await;
    ip(&["link", "set", CABLE, "up"]).unwrap();
    // The kernel forgets the addresses of a link that is set down.
    ip(&["addr", "replace", &format!("{CLIENT}/64"), "dev", CABLE, "nodad"]).unwrap();
    for (pair, before) in pairs.iter_mut().zip(connections) {
        pair.recovers().await;
        pair.addresses().await;
        pair.heart.until(|state| state == State::Up).await;
        let stats = pair.channel.stats();
        println!("{}: {stats:?}", pair.dialect);
        assert!(stats.connections > before && stats.cuts > 0, "{stats:?}");
    }
    keep_udp_under_loss().await;
    for pair in pairs {
        let goodbye = pair.udp.exit(peer()).await.unwrap();
        assert_eq!(goodbye.code, tables::of(pair.dialect).exit_okay);
        pair.channel.close().await;
    }
}

/// An entity of 1 MiB there and back while the cable loses datagrams, each way: over the own transport, and as a program
/// of laxcus6.
async fn keep_udp_under_loss() {
    let netem = "netem delay 1ms loss 1%";
    // A program's pieces come in bursts of the pace; some of them find no room.
    let tbf = "tbf rate 40mbit burst 8kb limit 64kb";
    let server = std::env::var(OTHER).unwrap();
    let ends = ["".to_owned(), format!("-n {server} ")];
    let lossy = [netem, tbf].into_iter().find(|lossy| {
        let made = ends
            .iter()
            .try_for_each(|end| tc(&format!("{end}qdisc replace dev {CABLE} root {lossy}")).map(drop));
        made.inspect_err(|why| println!("no {lossy}: {}", why.trim())).is_ok()
    });
    let Some(lossy) = lossy else {
        let line = format!("\nSKIPPED: {TEST}: KEEP UDP under loss: the kernel has neither netem nor tbf\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    };
    let entity: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for ours in [true, false] {
        let client =
            keep::Client::builder().dialect(&LAXCUS6).extensions(ours).timeout(Duration::from_secs(40));
        let client = client.build();
        let begun = Instant::now();
        let sent = request(&LAXCUS6).with_entity(entity.clone());
        let answer = client.request(peer(), sent).await.unwrap();
        assert!(answer.entity == entity, "{} bytes came back", answer.entity.len());
        let stats = client.stats();
        println!("KEEP UDP, own transport {ours}, {lossy}: {:.1?}, {stats:?}", begun.elapsed());
        assert_eq!(
            (stats.answers, stats.own, stats.exchanges),
            (1, ours.into(), (!ours).into()),
            "{stats:?}"
        );
        client.close();
        client.closed().await;
    }
    for end in ends {
        let told = tc(&format!("{end}-s qdisc show dev {CABLE}")).unwrap();
        println!("{told}");
        let lost = told.split("dropped ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
        assert!(lost.is_some_and(|lost| lost > 0), "nothing was lost");
        tc(&format!("{end}qdisc del dev {CABLE} root")).unwrap();
    }
}

fn peer() -> SocketAddr {
    (SERVER, PORT).into()
}

fn request(dialect: &Dialect) -> Packet {
    Packet::new(if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG })
}

fn said(packet: &Packet, key: u16) -> &str {
    packet.first(key).and_then(Value::as_str).unwrap()
}

/// The clients of one dialect.
struct Pair {
    dialect: &'static Dialect,
    channel: Channel,
    udp: udp::Client,
    heart: Heart,
}

impl Pair {
    async fn new(dialect: &'static Dialect) -> Self {
        let millis = Duration::from_millis;
        let channel = Channel::builder(dialect)
            .timeout(millis(800))
            .connect_time(millis(500))
            .heartbeat(Some(millis(200)), millis(300))
            .backoff(millis(50), millis(300))
            .connect(peer())
            .await
            .unwrap();
        let udp = udp::Client::builder().dialect(dialect).timeout(millis(800)).build();
        Self { dialect, channel, udp, heart: Heart::new(dialect).await }
    }

    /// Who we are, as the server sees it and says it, over TCP and UDP.
    async fn addresses(&self) {
        let lexst1 = self.dialect.name() == LEXST1.name();
        let over_tcp = self.channel.call(request(self.dialect)).await.unwrap();
        assert_eq!(said(&over_tcp, laxcus6::key::SPEAK), format!("{CLIENT} {SERVER} -"));
        let over_udp = self.udp.request(peer(), request(self.dialect)).await.unwrap();
        let own = if lexst1 { CLIENT_TEXT } else { "-" };
        assert_eq!(said(&over_udp, laxcus6::key::SPEAK), format!("{CLIENT} {SERVER} {own}"));
        if lexst1 {
            // Its server listens on all addresses, and names the one that we know it by.
            assert_eq!(said(&over_udp, lexst1::key::BIND_IP), SERVER_TEXT);
            return;
        }
        let test = || Packet::new(laxcus6::notify::TEST).with(laxcus6::key::SPEAK, "TEST!");
        let over_tcp = self.channel.call(test()).await.unwrap();
        let over_udp = self.udp.request(peer(), test()).await.unwrap();
        for (answer, transport) in [(over_tcp, Transport::Tcp), (over_udp, Transport::Udp)] {
            let Some(Value::Raw(host)) = answer.first(laxcus6::key::HOST) else { panic!("{answer:?}") };
            let host = Host::read(host).unwrap();
            assert_eq!((host.transport, host.addr.ip()), (transport, IpAddr::V6(CLIENT)));
        }
    }

    /// What the last HELO said.
    async fn helo_address(&self) {
        let own = if self.dialect.name() == LEXST1.name() { CLIENT_TEXT } else { "-" };
        let answer = self.channel.call(request(self.dialect)).await.unwrap();
        assert_eq!(answer.entity, format!("{CLIENT} {SERVER} {own}"));
    }

    /// A large entity there and back.
    async fn transfer(&self) {
        let len = 3 << 20;
        let body = Body::from_reader(len, tokio::io::repeat(7));
        let mut answer = self.channel.transfer(request(self.dialect), body).await.unwrap();
        let mut came = 0;
        while let Some(piece) = answer.body.chunk().await {
            came += piece.unwrap().len() as u64;
        }
        assert_eq!(came, len);
    }

    /// Both ways work again within some seconds.
    async fn recovers(&self) {
        let since = Instant::now();
        while let Err(error) = self.channel.call(request(self.dialect)).await {
            assert!(since.elapsed() < Duration::from_secs(10), "{}: {error}", self.dialect);
        }
        while let Err(error) = self.udp.request(peer(), request(self.dialect)).await {
            assert!(since.elapsed() < Duration::from_secs(10), "{}: {error}", self.dialect);
        }
        println!("{}: works again after {:.1?}", self.dialect, since.elapsed());
    }
}

/// A heartbeat to the server.
struct Heart {
    service: Service,
    events: Events,
}

impl Heart {
    async fn new(dialect: &Dialect) -> Self {
        let quick = Duration::from_millis(100);
        let mut config = if dialect.name() == LEXST1.name() {
            heartbeat::Config::lexst1(5, CLIENT.into(), 6600, 6600)
        } else {
            heartbeat::Config::laxcus6(&Node::new(8, CLIENT.into(), 6600, 6600))
        };
        config.interval = quick;
        if let Some(probe) = &mut config.probe {
            (probe.wait, probe.pause) = (quick, quick);
        }
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
        let (service, events) = Service::start(socket, config).unwrap();
        assert!(service.add(peer()));
        Self { service, events }
    }

    async fn until(&mut self, wanted: impl Fn(State) -> bool) {
        let waiting = async {
            while !self.service.state(peer()).is_some_and(&wanted) {
                let event: Option<Event> = self.events.next().await;
                println!("heartbeat: {:?}", event.unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    }
}
