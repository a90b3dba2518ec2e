//! The rows of a dialect's tables, and the macros that make constants and rows from one list.

use crate::Type;

/// A key that has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyName {
    /// The key.
    pub number: u16,
    /// Its name in the programs.
    pub name: &'static str,
    /// The type of its value, where it is known.
    pub ty: Option<Type>,
}

/// An answer code that has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerName {
    /// The code.
    pub number: u16,
    /// Its name in the programs.
    pub name: &'static str,
}

/// A minor command that has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinorName {
    /// The minor command.
    pub number: u8,
    /// Its name in the programs.
    pub name: &'static str,
}

/// A major command: its name, its legal minors, and the names of those that have one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Major {
    /// The major command.
    pub number: u8,
    /// Its name in the programs.
    pub name: &'static str,
    /// The minors a reader takes.
    pub legal: MinorSet,
    /// The minors with names.
    pub minors: &'static [MinorName],
}

/// A set of minor commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinorSet([u64; 4]);

impl MinorSet {
    /// Every minor.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// The minors of these rows.
    #[must_use]
    pub const fn of(rows: &[MinorName]) -> Self {
        let mut set = Self([0; 4]);
        let mut i = 0;
        while i < rows.len() {
            set.0[(rows[i].number >> 6) as usize] |= 1 << (rows[i].number & 63);
            i += 1;
        }
        set
    }

    /// Whether a minor is in the set.
    #[inline]
    #[must_use]
    pub const fn has(&self, minor: u8) -> bool {
        self.0[(minor >> 6) as usize] >> (minor & 63) & 1 == 1
    }
}

/// `keys! { 1000 SPEAK String, 1001 TIMEOUT - }`: a module `key` of constants, and the rows.
macro_rules! keys {
    (@ty -) => { None };
    (@ty $ty:ident) => { Some($crate::Type::$ty) };
    ($($number:literal $name:ident $ty:tt),* $(,)?) => {
        /// The keys that have names, as constants.
        pub mod key {
            $(
                #[doc = concat!("Key ", stringify!($number), ".")]
                pub const $name: u16 = $number;
            )*
        }
        const KEYS: &[$crate::dialect::KeyName] = &[
            $($crate::dialect::KeyName { number: $number, name: stringify!($name), ty: keys!(@ty $ty) },)*
        ];
    };
}

/// `answers! { 1000 ISEE }`: a module `answer` of constants, and the rows.
macro_rules! answers {
    ($($number:literal $name:ident),* $(,)?) => {
        /// The answers that have names, as constants.
        pub mod answer {
            use $crate::Code;
            $(
                #[doc = concat!("Answer ", stringify!($number), ".")]
                pub const $name: Code = Code::Answer($number);
            )*
        }
        const ANSWERS: &[$crate::dialect::AnswerName] = &[
            $($crate::dialect::AnswerName { number: $number, name: stringify!($name) },)*
        ];
    };
}

/// `requests! { notify = 1 NOTIFY listed { 1 HELO } }`: a module of constants for each major, and the rows.
/// `listed`: only the minors with names are legal; `open`: all are.
macro_rules! requests {
    (@legal listed $minors:expr) => { $crate::dialect::MinorSet::of($minors) };
    (@legal open $minors:expr) => { $crate::dialect::MinorSet::ALL };
    ($($module:ident = $major:literal $major_name:ident $legal:ident {
        $($minor:literal $name:ident),* $(,)?
    })*) => {
        $(
            #[doc = concat!("Requests of major ", stringify!($major), ", ", stringify!($major_name), ".")]
            pub mod $module {
                use $crate::Code;
                /// The major command.
                pub const MAJOR: u8 = $major;
                $(
                    #[doc = concat!("Request ", stringify!($major), "/", stringify!($minor), ".")]
                    pub const $name: Code = Code::Request { major: $major, minor: $minor };
                )*
                pub(super) const MINORS: &[$crate::dialect::MinorName] = &[
                    $($crate::dialect::MinorName { number: $minor, name: stringify!($name) },)*
                ];
            }
        )*
        const MAJORS: &[$crate::dialect::Major] = &[
            $($crate::dialect::Major {
                number: $major,
                name: stringify!($major_name),
                legal: requests!(@legal $legal $module::MINORS),
                minors: $module::MINORS,
            },)*
        ];
    };
}

pub(super) use {answers, keys, requests};
