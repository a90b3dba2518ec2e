//! What the two programs do each in its own way: the packets of a call, what stands in them, and what their servers
//! throw before a method is reached (SPEC 12.1 to 12.9).

#[cfg(feature = "laxcus6")]
use fixp_codec::laxcus6;
#[cfg(feature = "lexst1")]
use fixp_codec::lexst1;
use fixp_codec::rpc::{self, Call, Limits, Reply, Throwable};
use fixp_codec::{Code, Dialect, Packet};
use fixp_transport::host::Transport;
use fixp_transport::udp::MAX_DATAGRAM;

/// One of the two programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    #[cfg(feature = "lexst1")]
    Lexst1,
    #[cfg(feature = "laxcus6")]
    Laxcus6,
}

/// How a call came, and its answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// RPC, EXECUTE (SPEC 12.1, 12.2).
    Rpc,
    /// NOTIFY, VISIT with this SERIAL_NUMBER (SPEC 12.8).
    #[cfg(feature = "laxcus6")]
    Visit(i64),
}

impl Way {
    /// The key of the serial by which an answer is known, where there is one.
    pub(crate) const fn serial_key(self) -> Option<u16> {
        match self {
            Self::Rpc => None,
            #[cfg(feature = "laxcus6")]
            Self::Visit(_) => Some(laxcus6::key::SERIAL_NUMBER),
        }
    }
}

impl Form {
    /// The program that speaks a dialect, where its calls are spoken here. One of a user's own is laxcus6's kind.
    pub(crate) fn of(dialect: &Dialect) -> Option<Self> {
        match dialect.name() {
            #[cfg(feature = "lexst1")]
            "lexst1" => Some(Self::Lexst1),
            #[cfg(not(feature = "lexst1"))]
            "lexst1" => None,
            #[cfg(feature = "laxcus6")]
            _ => Some(Self::Laxcus6),
            #[cfg(not(feature = "laxcus6"))]
            _ => None,
        }
    }

    /// How a packet is a call, if it is one.
    pub(crate) fn way(self, packet: &Packet, transport: Transport) -> Option<Way> {
        match self {
            // SPEC 12.1: the minor code is not looked at.
            #[cfg(feature = "lexst1")]
            Self::Lexst1 => {
                let of = |code| if let Code::Request { major, .. } = code { Some(major) } else { None };
                (of(packet.code) == of(lexst1::rpc::EXECUTE)).then_some(Way::Rpc)
            }
            #[cfg(feature = "laxcus6")]
            Self::Laxcus6 => match packet.code {
                laxcus6::rpc::EXECUTE => Some(Way::Rpc),
                // The transport drops it where the serial is missing, or of another type.
                laxcus6::notify::VISIT if transport != Transport::Tcp => {
                    packet.first(laxcus6::key::SERIAL_NUMBER)?.as_i64().map(Way::Visit)
                }
                _ => None,
            },
        }
    }

    /// A call's packet.
    pub(crate) fn request(self, way: Way) -> Packet {
        match (self, way) {
            #[cfg(feature = "lexst1")]
            (Self::Lexst1, _) => Packet::new(lexst1::rpc::EXECUTE),
            #[cfg(feature = "laxcus6")]
            (Self::Laxcus6, Way::Rpc) => Packet::new(laxcus6::rpc::EXECUTE),
            #[cfg(feature = "laxcus6")]
            (Self::Laxcus6, Way::Visit(serial)) => {
                Packet::new(laxcus6::notify::VISIT).with(laxcus6::key::SERIAL_NUMBER, serial)
            }
        }
    }

    /// An answer's packet. It says OKAY whatever came of the call (SPEC 12.2).
    pub(crate) fn answer(self, way: Way) -> Packet {
        match (self, way) {
            #[cfg(feature = "lexst1")]
            (Self::Lexst1, _) => Packet::new(lexst1::answer::OKAY).with(lexst1::key::CONTENT_TYPE, 3_i16),
            #[cfg(feature = "laxcus6")]
            (Self::Laxcus6, Way::Rpc) => {
                Packet::new(laxcus6::answer::OKAY).with(laxcus6::key::CONTENT_TYPE, 1030_i16)
            }
            #[cfg(feature = "laxcus6")]
            (Self::Laxcus6, Way::Visit(serial)) => {
                Packet::new(laxcus6::answer::VISIT_ACCEPTED).with(laxcus6::key::SERIAL_NUMBER, serial)
            }
        }
    }

    /// Whether an answer of this code says that a server did not look at the call: that it comes from an address
    /// which is not allowed, or that it wants a cipher first (SPEC 12.2).
    pub(crate) fn turns_away(self, code: Code) -> bool {
        match self {
            #[cfg(feature = "lexst1")]
            Self::Lexst1 => code == lexst1::answer::AUTHENTICATE_FAILED,
            #[cfg(feature = "laxcus6")]
            Self::Laxcus6 => code == laxcus6::answer::SECURE_NOTIFY,
        }
    }

    pub(crate) fn write_call(self, call: &Call) -> Result<Vec<u8>, rpc::Error> {
        match self {
            #[cfg(feature = "lexst1")]
            Self::Lexst1 => rpc::lexst1::encode_call(call),
            #[cfg(feature = "laxcus6")]
            Self::Laxcus6 => rpc::laxcus6::encode_call(call),
        }
    }

    pub(crate) fn read_call(self, entity: &[u8]) -> Result<Call, rpc::Error> {
        match self {
            #[cfg(feature = "lexst1")]
            Self::Lexst1 => rpc::lexst1::decode_call(entity),
            #[cfg(feature = "laxcus6")]
            Self::Laxcus6 => rpc::laxcus6::decode_call(entity),
        }
    }

    /// No more than a datagram carries is made of what goes in one (SPEC 12.9).
    pub(crate) fn write_reply(self, reply: &Reply, transport: Transport) -> Result<Vec<u8>, rpc::Error> {
        let bytes = if transport == Transport::Udp { MAX_DATAGRAM } else { Limits::BYTES };
        let limits = Limits { bytes, ..Limits::default() };
        match self {
            #[cfg(feature = "lexst1")]
            Self::Lexst1 => rpc::lexst1::encode_reply_within(reply, &limits),
            #[cfg(feature = "laxcus6")]
            Self::Laxcus6 => rpc::laxcus6::encode_reply_within(reply, &limits),
        }
    }

    pub(crate) fn read_reply(self, entity: &[u8]) -> Result<Reply, rpc::Error> {
        match self {
            #[cfg(feature = "lexst1")]
            Self::Lexst1 => rpc::lexst1::decode_reply(entity),
            #[cfg(feature = "laxcus6")]
            Self::Laxcus6 => rpc::laxcus6::decode_reply(entity),
        }
    }

    /// What is thrown for an entity of no bytes (SPEC 12.6).
    pub(crate) fn empty(self, transport: Transport) -> Throwable {
        let text = match (self, transport) {
            #[cfg(feature = "laxcus6")]
            (Self::Laxcus6, Transport::Tcp) => "rpc data is null",
            _ => "RPC data is null",
        };
        Throwable::new("java.lang.NullPointerException", text)
    }

    /// What is thrown where there is no room.
    pub(crate) fn too_large(needed: usize, limit: usize) -> Throwable {
        let text = format!("{needed} are more than the limit of {limit}");
        Throwable::new("java.lang.OutOfMemoryError", text)
    }

    /// What is thrown for an interface that is not there (SPEC 12.4).
    pub(crate) fn no_interface(self, name: &str) -> Throwable {
        let text = match self {
            #[cfg(feature = "lexst1")]
            Self::Lexst1 => "cannot find class!".to_owned(),
            #[cfg(feature = "laxcus6")]
            Self::Laxcus6 => format!("cannot be find class: {name}"),
        };
        Throwable::new("java.lang.ClassNotFoundException", text)
    }
}
