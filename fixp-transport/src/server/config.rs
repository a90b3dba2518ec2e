//! A server's configuration as a TOML file. `server.toml` beside this crate's manifest has every option, what
//! it means, and its default.
//!
//! ```
//! use std::time::Duration;
//! use fixp_transport::Nobody;
//! use fixp_transport::server::config::Config;
//!
//! let config = Config::from_toml(r#"
//!     listen = ["127.0.0.1:5000"]
//!     dialect = "lexst1"
//!
//!     [limits]
//!     connections = 100
//!     gather = "64KiB"
//!     head_time = "500ms"
//! "#)?;
//! assert_eq!(config.limits.head_time, Duration::from_millis(500));
//! assert_eq!(config.limits.gather, 65536);
//! let builder = config.builder(Nobody);
//!
//! // What is wrong says where.
//! let error = Config::from_toml("listen = []\ndialect = \"lexst2\"").unwrap_err();
//! assert_eq!(error.line, Some(2));
//! # Ok::<(), fixp_transport::server::config::ConfigError>(())
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6};
use serde::Deserialize as Derive;
use serde::de::{Deserializer, Error as _};
use toml::de::DeTable;

use super::admission::AllowList;
use super::node::ShutdownFrom;
use super::public_key::{PublicKey, PublicKeyError};
use super::{Builder, DialectChoice, Server};
use crate::handler::Handler;
use crate::keep;
use crate::keep::budget::Rates;
use crate::limits::ServerLimits;
use crate::rate::RateLimiter;

/// The options of a server. What is not given has its default; what is not known is an error.
#[derive(Clone, PartialEq, Eq, Debug, Derive)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The addresses to listen on, over TCP and UDP.
    pub listen: Vec<SocketAddr>,
    /// Whether IPv6 addresses take IPv6 only.
    pub ipv6_only: bool,
    /// The one dialect that is spoken, or nothing (`told`) where each packet tells its own.
    #[serde(deserialize_with = "told_or_named")]
    pub dialect: Option<&'static Dialect>,
    /// The dialect of peers whose packets do not tell it.
    #[serde(deserialize_with = "named")]
    pub default_dialect: &'static Dialect,
    /// Whether our extensions are announced to those who announce theirs.
    pub extensions: bool,
    /// The bytes of large entities a second, both ways together; 0 for no such limit.
    #[serde(deserialize_with = "size")]
    pub bulk_rate: u64,
    /// From whom connections and datagrams are taken.
    #[serde(deserialize_with = "addresses")]
    pub allow: AllowList,
    /// Whose answers over UDP, plain and in pieces, may be any number of times what they sent.
    #[serde(deserialize_with = "addresses")]
    pub keep_allow: AllowList,
    /// The public key that laxcus6's clients are given.
    pub key: Key,
    /// Who may shut the server down, and how.
    pub shutdown: Shutdown,
    /// What the server takes at most.
    #[serde(with = "Limits")]
    pub limits: ServerLimits,
}

/// Where the public key comes from.
#[derive(Clone, PartialEq, Eq, Debug, Derive)]
#[serde(try_from = "KeyFields")]
pub enum Key {
    /// It is made at every start.
    Made {
        /// Its modulus, in bits.
        bits: usize,
    },
    /// It is the same at every start.
    Given(PublicKey),
}

/// Who may shut a server down by SHUTDOWN, and how it ends.
#[derive(Clone, PartialEq, Eq, Debug, Derive)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// Whether this host may.
    pub own_addresses: bool,
    /// Who else may.
    #[serde(deserialize_with = "addresses")]
    pub allow: AllowList,
    /// How long requests that have begun may go on.
    #[serde(deserialize_with = "duration")]
    pub deadline: Duration,
}

impl Config {
    /// The configuration of a file's text.
    ///
    /// # Errors
    ///
    /// Text that is not TOML, options that are not known, and values that they cannot have, each with its line.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError {
            line: error.span().map(|span| line(text, span.start)),
            message: error.message().into(),
        })?;
        config.limits.check().map_err(|error| ConfigError {
            line: limit_at(text, error.limit).map(|at| line(text, at)),
            message: error.to_string(),
        })?;
        Ok(config)
    }

    /// A server so configured, whose requests this handler answers.
    #[must_use]
    pub fn builder<H: Handler>(&self, handler: H) -> Builder<H> {
        let dialect = match self.dialect {
            Some(dialect) => DialectChoice::Fixed(dialect),
            None => DialectChoice::Told { default: self.default_dialect },
        };
        let mut builder = Server::builder(handler)
            .ipv6_only(self.ipv6_only)
            .dialect(dialect)
            .limits(self.limits.clone())
            .allow(self.allow.clone())
            .keep_allow(self.keep_allow.clone())
            .extensions(self.extensions);
        builder = match &self.key {
            Key::Made { bits } => builder.key_bits(*bits),
            Key::Given(key) => builder.public_key(key.clone()),
        };
        if self.bulk_rate > 0 {
            builder = builder.bulk_rate(RateLimiter::new(self.bulk_rate));
        }
        self.listen.iter().fold(builder, |builder, addr| builder.bind(*addr))
    }

    /// Who may shut the server down, for the [`Node`](super::Node) that is its handler.
    #[must_use]
    pub fn shutdown_from(&self) -> ShutdownFrom {
        let Shutdown { own_addresses, allow, .. } = &self.shutdown;
        let from = if *own_addresses { ShutdownFrom::own_addresses() } else { ShutdownFrom::nobody() };
        from.and(allow.clone())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            ipv6_only: false,
            dialect: None,
            default_dialect: &LAXCUS6,
            extensions: true,
            bulk_rate: 0,
            allow: AllowList::everyone(),
            keep_allow: AllowList::loopback(),
            key: Key::default(),
            shutdown: Shutdown::default(),
            limits: ServerLimits::default(),
        }
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::Made { bits: PublicKey::DEFAULT_BITS }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { own_addresses: true, allow: AllowList::nobody(), deadline: Duration::from_secs(10) }
    }
}

/// What is wrong with a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The line, from 1 on, where it can be told.
    pub line: Option<usize>,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// A limit that is new in [`ServerLimits`] does not compile here until it has its option.
#[derive(Derive)]
#[serde(remote = "ServerLimits", deny_unknown_fields, default = "ServerLimits::default")]
struct Limits {
    connections: usize,
    connections_per_source: usize,
    #[serde(deserialize_with = "size")]
    head: usize,
    #[serde(deserialize_with = "size")]
    entity: u64,
    #[serde(deserialize_with = "size")]
    gather: usize,
    requests_per_connection: usize,
    #[serde(deserialize_with = "size")]
    bytes_per_connection: usize,
    #[serde(deserialize_with = "size")]
    bytes: usize,
    datagrams: usize,
    #[serde(deserialize_with = "size")]
    plain_rate: u64,
    #[serde(deserialize_with = "size")]
    plain_burst: u64,
    #[serde(deserialize_with = "duration")]
    head_time: Duration,
    #[serde(deserialize_with = "duration")]
    entity_time: Duration,
    #[serde(deserialize_with = "duration")]
    idle_time: Duration,
    #[serde(deserialize_with = "duration")]
    write_time: Duration,
    #[serde(deserialize_with = "duration")]
    ordered_time: Duration,
    ordered_channels: usize,
    #[serde(deserialize_with = "size")]
    ordered_bytes: usize,
    #[serde(with = "Keep")]
    keep: keep::Limits,
    #[serde(with = "KeepBudget")]
    keep_budget: Rates,
    #[serde(deserialize_with = "size")]
    keep_pace: u64,
    keep_associations: usize,
    keep_half_open: usize,
    keep_exchanges: u64,
    #[serde(deserialize_with = "size")]
    keep_window: u64,
    #[serde(deserialize_with = "size")]
    keep_association_window: u64,
}

/// The same for KEEP UDP.
#[derive(Derive)]
#[serde(remote = "keep::Limits", deny_unknown_fields, default = "keep::Limits::default")]
struct Keep {
    pieces: u32,
    #[serde(deserialize_with = "size")]
    entity: usize,
    exchanges: usize,
    exchanges_per_peer: usize,
    #[serde(deserialize_with = "size")]
    bytes: usize,
    controls: usize,
    retries: u32,
    sendings: u32,
    #[serde(deserialize_with = "duration")]
    idle: Duration,
    #[serde(deserialize_with = "duration")]
    lifetime: Duration,
    #[serde(deserialize_with = "duration")]
    hold: Duration,
    #[serde(deserialize_with = "duration")]
    tombstone: Duration,
    #[serde(deserialize_with = "duration")]
    settle: Duration,
    settled: usize,
}

/// The same for its budget.
#[derive(Derive)]
#[serde(remote = "Rates", deny_unknown_fields, default = "Rates::default")]
struct KeepBudget {
    #[serde(deserialize_with = "size")]
    rate: u64,
    #[serde(deserialize_with = "size")]
    burst: u64,
    #[serde(deserialize_with = "size")]
    sign_rate: u64,
    #[serde(deserialize_with = "size")]
    sign_burst: u64,
    prefixes: usize,
}

#[derive(Derive)]
#[serde(deny_unknown_fields)]
struct KeyFields {
    bits: Option<usize>,
    modulus: Option<String>,
    exponent: Option<String>,
}

impl TryFrom<KeyFields> for Key {
    type Error = String;

    fn try_from(fields: KeyFields) -> Result<Self, String> {
        match fields {
            KeyFields { bits: None, modulus: Some(modulus), exponent } => {
                let number =
                    |digits: &str| hexadecimal(digits).ok_or_else(|| format!("{digits:?} is no number"));
                let exponent = exponent.as_deref().unwrap_or("010001");
                PublicKey::new(&number(&modulus)?, &number(exponent)?)
                    .map(Self::Given)
                    .map_err(|error| error.to_string())
            }
            KeyFields { bits, modulus: None, exponent: None } => {
                let bits = bits.unwrap_or(PublicKey::DEFAULT_BITS);
                if (PublicKey::MIN_BITS..=PublicKey::MAX_BITS).contains(&bits) {
                    Ok(Self::Made { bits })
                } else {
                    Err(PublicKeyError::Bits(bits).to_string())
                }
            }
            _ => Err("a key is made of `bits` bits, or given by `modulus` and `exponent`".into()),
        }
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        digits.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect::<Option<_>>()?;
    // From the end, as a number may have an odd count of digits.
    let mut bytes: Vec<u8> =
        digits.rchunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    bytes.reverse();
    Some(bytes)
}

fn told_or_named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'static Dialect>, D::Error> {
    let name = String::deserialize(from)?;
    if name == "told" { Ok(None) } else { dialect(&name).map(Some) }
}

fn named<'de, D: Deserializer<'de>>(from: D) -> Result<&'static Dialect, D::Error> {
    dialect(&String::deserialize(from)?)
}

fn dialect<E: serde::de::Error>(name: &str) -> Result<&'static Dialect, E> {
    Dialect::by_name(name).ok_or_else(|| E::custom(format_args!("no dialect is called {name:?}")))
}

fn addresses<'de, D: Deserializer<'de>>(from: D) -> Result<AllowList, D::Error> {
    AllowList::new(Vec::<String>::deserialize(from)?).map_err(D::Error::custom)
}

/// `10s`, `500ms`.
fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let (number, unit) = split(&text);
    let duration = number.and_then(|number| match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "min" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    });
    duration.ok_or_else(|| {
        D::Error::custom(format_args!("{text:?} is no duration, such as \"10s\" or \"500ms\""))
    })
}

/// `262144`, `"256KiB"`.
fn size<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
    #[derive(Derive)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    let wrong = || D::Error::custom("a size is a number of bytes, or such as \"256KiB\"");
    let bytes = match Size::deserialize(from).map_err(|_| wrong())? {
        Size::Bytes(bytes) => Some(bytes),
        Size::Text(text) => {
            let (number, unit) = split(&text);
            let shift = match unit {
                "B" => Some(0),
                "KiB" => Some(10),
                "MiB" => Some(20),
                "GiB" => Some(30),
                _ => None,
            };
            number.zip(shift).and_then(|(number, shift): (u64, u32)| number.checked_mul(1 << shift))
        }
    };
    bytes.and_then(|bytes| T::try_from(bytes).ok()).ok_or_else(wrong)
}

/// The line of a place in a text, from 1 on.
fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// Where a text sets a limit of the server, and not one of the same name of a section below.
fn limit_at(text: &str, limit: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let limits = table.get_ref().get("limits")?.get_ref().as_table()?;
    limits.get_key_value(limit).map(|(name, _)| name.span().start)
}

/// The digits in front, and what follows them.
fn split(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (digits.parse().ok(), unit.trim_start())
}
