//! Which dialect: as told, as the bytes tell, or by default.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use fixp_codec::dialect::BUILT_IN;
use fixp_codec::{Dialect, LAXCUS6, Packet};
use fixp_transport::server::DialectChoice;

use crate::kind::Kind;
use crate::output;

/// The arguments of a command that reads bytes of some dialect.
#[derive(Debug, clap::Args)]
pub(crate) struct WhichDialect {
    /// The dialect; auto: lexst1 or laxcus6, as a packet's last message tells (laxcus2 is never guessed)
    #[arg(long, value_name = "DIALECT", default_value = "auto", value_parser = choice())]
    dialect: Choice,

    /// The dialect where the bytes do not tell it
    #[arg(long, value_name = "DIALECT", default_value = DEFAULT, value_parser = named())]
    default_dialect: &'static Dialect,
}

/// The dialect of the program that is in use.
pub(crate) const DEFAULT: &str = LAXCUS6.name();

#[derive(Clone, Copy, Debug)]
enum Choice {
    Auto,
    Is(&'static Dialect),
}

/// Tells the dialects of packets that follow each other.
#[derive(Debug)]
pub(crate) struct Teller {
    choice: Choice,
    default: &'static Dialect,
    /// Packets of one stream are of one dialect, so what one has told holds for those that do not tell.
    told: Option<&'static Dialect>,
    noted: bool,
}

impl WhichDialect {
    /// The same for a server.
    pub(crate) const fn of_peers(&self) -> DialectChoice {
        match self.dialect {
            Choice::Is(dialect) => DialectChoice::Fixed(dialect),
            Choice::Auto => DialectChoice::Told { default: self.default_dialect },
        }
    }

    pub(crate) const fn teller(&self) -> Teller {
        Teller { choice: self.dialect, default: self.default_dialect, told: None, noted: false }
    }
}

impl Teller {
    /// The dialect of what stands at the start of `input`.
    pub(crate) fn dialect(&mut self, kind: Kind, input: &[u8]) -> &'static Dialect {
        if let Choice::Is(dialect) = self.choice {
            return dialect;
        }
        if kind == Kind::Packet {
            self.told = Dialect::detect(input).or(self.told);
        }
        self.told.unwrap_or_else(|| self.guess())
    }

    fn guess(&mut self) -> &'static Dialect {
        if !self.noted {
            let name = self.default.name();
            output::note(format_args!("dialect unknown, {name} assumed (see --dialect)"));
        }
        self.noted = true;
        self.default
    }
}

fn choice() -> impl TypedValueParser<Value = Choice> {
    let names = ["auto"].into_iter().chain(BUILT_IN.map(Dialect::name));
    PossibleValuesParser::new(names).map(|name| Dialect::by_name(&name).map_or(Choice::Auto, Choice::Is))
}

/// The name of a built-in dialect.
pub(crate) fn named() -> impl TypedValueParser<Value = &'static Dialect> {
    PossibleValuesParser::new(BUILT_IN.map(Dialect::name))
        .map(|name| Dialect::by_name(&name).unwrap_or(&LAXCUS6))
}

/// Notes, once, a packet that looks as if it had been decoded in another dialect: written in this one it
/// would have other type codes and a second CONTENT_LENGTH.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    noted: bool,
}

impl Doubt {
    pub(crate) fn look(&mut self, packet: &Packet, dialect: &Dialect) {
        let has_length = |dialect: &Dialect| packet.first(dialect.content_length_key()).is_some();
        let other = BUILT_IN.into_iter().find(|other| has_length(other));
        let Some(other) = other.filter(|_| !self.noted && !has_length(dialect)) else { return };
        let key = other.content_length_key();
        output::note(format_args!(
            "key {key} is CONTENT_LENGTH in {other}, not in {dialect} (see --dialect)"
        ));
        self.noted = true;
    }
}
