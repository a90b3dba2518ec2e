//! What the programs of a dialect do around their packets: one table each (SPEC 11).
//!
//! ```
//! use fixp_codec::LAXCUS6;
//! use fixp_transport::tables;
//!
//! assert_eq!(tables::of(&LAXCUS6).okay, fixp_codec::laxcus6::answer::OKAY);
//! assert!(tables::of(&LAXCUS6).asks_security);
//! ```

use std::time::Duration;

use fixp_codec::{Code, Dialect, laxcus6, lexst1};

/// The habits of a dialect's programs.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// The answer to what went well.
    pub okay: Code,
    /// The answer to what is not allowed.
    pub refuse: Code,
    /// The answer to what nobody serves.
    pub unserved: Code,
    /// Whether a TCP connection ends with that answer.
    pub unserved_closes: bool,
    /// The request that ends a connection.
    pub exit: Code,
    /// Its answer.
    pub exit_okay: Code,
    /// What its answer says over TCP.
    pub exit_text_tcp: &'static str,
    /// What its answer says over UDP.
    pub exit_text_udp: &'static str,
    /// Whether a TCP client begins with SECURE_QUERY (SPEC 11.3).
    pub asks_security: bool,
    /// The request that asks a server to answer, over TCP and UDP, where there is one.
    pub test: Option<Code>,
    /// A request that asks for nothing and is answered over UDP and KEEP UDP alike: what an announcement may stand
    /// in.
    pub probe: Code,
    /// The key that names how an entity with objects is written.
    pub serial_type: u16,
    /// The heartbeat of UDP.
    pub helo: Code,
    /// The request for a burst of heartbeats.
    pub comeback: Code,
    /// The request to stop the server.
    pub shutdown: Code,
    /// In how many copies its answer leaves.
    pub shutdown_copies: u8,
    /// The key of BIND_IP, where every datagram carries the sender's address in it.
    pub bind_ip: Option<u16>,
    /// How often a node says HELO unless its hub tells otherwise.
    pub helo_interval: Duration,
    /// In how many datagrams HELO leaves after one, two, and three and more intervals of silence.
    pub helo_copies: [u8; 3],
    /// After how many intervals of silence a peer is down.
    pub helo_dead: u32,
    /// The burst after COMEBACK: rounds, and copies of each.
    pub comeback_burst: (u8, u8),
}

/// The habits of a dialect. A dialect of one's own has those of laxcus6.
#[must_use]
pub fn of(dialect: &Dialect) -> &'static Habits {
    match dialect.name() {
        "lexst1" => &LEXST1,
        _ => &LAXCUS6,
    }
}

/// lexst1, the older program.
pub const LEXST1: Habits = Habits {
    okay: lexst1::answer::OKAY,
    refuse: lexst1::answer::REFUSE,
    unserved: lexst1::answer::UNSUPPORT_COMMAND,
    unserved_closes: false,
    exit: lexst1::notify::EXIT,
    exit_okay: lexst1::answer::OKAY,
    exit_text_tcp: "see you next time",
    exit_text_udp: "see you next time",
    asks_security: false,
    test: None,
    probe: lexst1::notify::INIT_SECURE,
    serial_type: lexst1::key::SERIAL_TYPE,
    helo: lexst1::notify::HELO,
    comeback: lexst1::notify::COMEBACK,
    shutdown: lexst1::notify::SHUTDOWN,
    shutdown_copies: 3,
    bind_ip: Some(lexst1::key::BIND_IP),
    helo_interval: Duration::from_secs(20),
    helo_copies: [1, 1, 1],
    helo_dead: 3,
    comeback_burst: (3, 3),
};

/// laxcus6, the program of Laxcus 6.0.
pub const LAXCUS6: Habits = Habits {
    okay: laxcus6::answer::OKAY,
    refuse: laxcus6::answer::REFUSE,
    unserved: laxcus6::answer::UNSUPPORT,
    unserved_closes: true,
    exit: laxcus6::notify::EXIT,
    exit_okay: laxcus6::answer::GOODBYE,
    exit_text_tcp: "see you next time",
    exit_text_udp: "SEE YOU NEXT TIME!",
    asks_security: true,
    test: Some(laxcus6::notify::TEST),
    probe: laxcus6::notify::TEST,
    serial_type: laxcus6::key::SERIAL_TYPE,
    helo: laxcus6::notify::HELO,
    comeback: laxcus6::notify::COMEBACK,
    shutdown: laxcus6::notify::SHUTDOWN,
    shutdown_copies: 5,
    bind_ip: None,
    helo_interval: Duration::from_secs(20),
    helo_copies: [1, 2, 3],
    helo_dead: 5,
    comeback_burst: (1, 5),
};
