//! What both quinn and quinn-proto are configured with.

use std::sync::Arc;

use quinn_proto::congestion::{BbrConfig, CubicConfig};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{ClientConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The name in the certificate.
pub const NAME: &str = "localhost";

/// The longest datagram that the loopback takes.
pub const LOOPBACK: u16 = 65_507;

/// How a connection is tuned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tuning {
    /// As it comes.
    Default,
    /// Windows of 16 MiB, so that none of them is what limits.
    Windows,
    /// The same, and datagrams as large as the loopback takes.
    Loopback,
    /// Windows of 16 MiB and BBR in place of CUBIC.
    Bbr,
}

/// A certificate signed by itself, made anew for each run.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A new one.
    ///
    /// # Panics
    ///
    /// If there is no random number.
    #[must_use]
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        Self { certificate: made.cert.into(), key }
    }

    /// For a server.
    ///
    /// # Panics
    ///
    /// If rustls refuses it.
    #[must_use]
    pub fn server(&self, tuning: Tuning) -> ServerConfig {
        let crypto = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .expect("a certificate");
        let crypto = QuicServerConfig::try_from(crypto).expect("a cipher for QUIC");
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport(tuning)));
        config
    }

    /// For a client that trusts it.
    ///
    /// # Panics
    ///
    /// If rustls refuses it.
    #[must_use]
    pub fn client(&self, tuning: Tuning) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        let crypto = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let crypto = QuicClientConfig::try_from(crypto).expect("a cipher for QUIC");
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport(tuning)));
        config
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn transport(tuning: Tuning) -> TransportConfig {
    const WINDOW: u32 = 16 << 20;
    let mut config = TransportConfig::default();
    // It waits while others have their turns.
    config.max_idle_timeout(None);
    if tuning == Tuning::Default {
        return config;
    }
    config.stream_receive_window(VarInt::from_u32(WINDOW)).send_window(WINDOW.into());
    if tuning == Tuning::Loopback {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(LOOPBACK);
        config.mtu_discovery_config(Some(discovery));
    }
    match tuning {
        Tuning::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
        _ => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
    };
    config
}
