//! The public key that laxcus6's clients insist on, even where nothing is encrypted.
//!
//! ```
//! use fixp_transport::server::PublicKey;
//!
//! let key = PublicKey::generate(512)?;
//! // Mode, presence, and the lengths of modulus and exponent stand around them.
//! assert_eq!(key.secure_body(0).len(), 4 + 1 + 4 + 64 + 4 + 3);
//! # Ok::<(), fixp_transport::server::PublicKeyError>(())
//! ```

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use crypto_bigint::{BoxedUint, ConcatenatingMul, Limb, NonZero};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};

/// An RSA public key.
///
/// Its clients only look whether it is there: a server in mode none hands it out and never decrypts with it,
/// so nobody keeps the private part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    modulus: Bytes,
    exponent: Bytes,
    /// The entity for mode none, which every client asks for before every exchange.
    clear: Bytes,
}

/// Why something is not a public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// The modulus has so many bits: fewer than [`PublicKey::MIN_BITS`] or more than [`PublicKey::MAX_BITS`].
    Bits(usize),
    /// The modulus is even: no product of two odd primes.
    EvenModulus,
    /// The exponent is even, less than 3, or not less than the modulus.
    Exponent,
    /// No primes were found, which says that the random numbers are not random.
    Primes,
}

impl fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits(bits) => write!(
                f,
                "a modulus of {bits} bits, where {} to {} are taken",
                PublicKey::MIN_BITS,
                PublicKey::MAX_BITS
            ),
            Self::EvenModulus => f.write_str("the modulus is even"),
            Self::Exponent => {
                f.write_str("the exponent is not odd, less than 3, or not less than the modulus")
            }
            Self::Primes => f.write_str("no primes were found"),
        }
    }
}

impl std::error::Error for PublicKeyError {}

/// The exponent of a generated key, 65537: a prime.
const EXPONENT: u32 = 65537;

impl PublicKey {
    /// The shortest modulus, in bits: the programs' default and minimum.
    pub const MIN_BITS: usize = 512;
    /// The longest modulus, in bits: one of 8192 takes minutes to make, and 1 KiB in each answer.
    pub const MAX_BITS: usize = 8192;
    /// The modulus of a key that a server makes for itself, in bits: what the recorded server had.
    pub const DEFAULT_BITS: usize = 1024;

    /// The key of these numbers, big-endian, with leading zeros or without.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError`], but for [`PublicKeyError::Primes`]: whether the modulus is a product of two primes
    /// nobody can tell.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, PublicKeyError> {
        let (modulus, exponent) = (minimal(modulus), minimal(exponent));
        let bits = bits(modulus);
        if !(Self::MIN_BITS..=Self::MAX_BITS).contains(&bits) {
            return Err(PublicKeyError::Bits(bits));
        }
        if is_even(modulus) {
            return Err(PublicKeyError::EvenModulus);
        }
        let small = (exponent.len(), exponent) < (modulus.len(), modulus);
        if is_even(exponent) || exponent == [1] || !small {
            return Err(PublicKeyError::Exponent);
        }
        let (modulus, exponent) = (Bytes::copy_from_slice(modulus), Bytes::copy_from_slice(exponent));
        let clear = secure_body(0, &modulus, &exponent);
        Ok(Self { modulus, exponent, clear })
    }

    /// A new key, whose modulus of `bits` bits is the product of two random primes, and whose exponent is
    /// 65537. Takes time that doubles and doubles again with the bits: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError::Bits`] before anything is looked for; [`PublicKeyError::Primes`].
    pub fn generate(bits: usize) -> Result<Self, PublicKeyError> {
        if !(Self::MIN_BITS..=Self::MAX_BITS).contains(&bits) {
            return Err(PublicKeyError::Bits(bits));
        }
        // Both of a prime's two top bits are set, so that the product has all its bits.
        let p = prime(bits.div_ceil(2))?;
        let q = loop {
            let q = prime(bits / 2)?;
            if q != p {
                break q;
            }
        };
        let modulus = p.concatenating_mul(&q).to_be_bytes_trimmed_vartime();
        Self::new(&modulus, &EXPONENT.to_be_bytes())
    }

    /// The modulus, big-endian, without leading zeros.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The exponent, big-endian, without leading zeros.
    #[must_use]
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// The key as laxcus6 writes it ("PublicSecure"), the entity of SECURE_NOTIFY: the mode of the server
    /// (0 none, 1 address, 2 cipher, 3 both), the word that there is a key, and the key.
    #[must_use]
    pub fn secure_body(&self, mode: i32) -> Bytes {
        if mode == 0 { self.clear.clone() } else { secure_body(mode, &self.modulus, &self.exponent) }
    }
}

fn secure_body(mode: i32, modulus: &[u8], exponent: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(4 + 1 + 4 + modulus.len() + 4 + exponent.len());
    body.put_i32_le(mode);
    body.put_u8(1);
    for number in [modulus, exponent] {
        body.put_u32_le(number.len() as u32);
        body.put_slice(number);
    }
    body.freeze()
}

/// Without leading zeros.
fn minimal(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn bits(minimal: &[u8]) -> usize {
    minimal.first().map_or(0, |first| minimal.len() * 8 - first.leading_zeros() as usize)
}

/// Zero is even, too.
fn is_even(minimal: &[u8]) -> bool {
    minimal.last().is_none_or(|last| last % 2 == 0)
}

/// A random prime of so many bits that has an exponent's inverse: one less is no multiple of the exponent.
fn prime(bits: usize) -> Result<BoxedUint, PublicKeyError> {
    let factory = SmallFactorsSieveFactory::new(Flavor::Any, bits as u32, SetBits::TwoMsb)
        .map_err(|_| PublicKeyError::Primes)?;
    let exponent = NonZero::new(Limb::from_u32(EXPONENT)).into_option().ok_or(PublicKeyError::Primes)?;
    sieve_and_find(&mut rand::rng(), factory, |_, candidate: &BoxedUint| {
        candidate.rem_limb(exponent) != Limb::ONE && is_prime(Flavor::Any, candidate)
    })
    .ok()
    .flatten()
    .ok_or(PublicKeyError::Primes)
}
