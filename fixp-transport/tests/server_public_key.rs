//! The public key, its bounds, and its bytes on the wire.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crypto_bigint::BoxedUint;
use fixp_transport::server::{PublicKey, PublicKeyError};

/// The entity of SECURE_NOTIFY of the recorded laxcus6 server (probe-laxcus6, secure-query).
const RECORDED: &str = "0000000001800000009a40edbe9edfe3d8d39269a7ee2767e8514750811a99fc1b36583f5fd5503ebcd262a746e54c8a32\
    e7c1efd510855a958ed8b1841d96277b6f2f5f30a4dff33d2aa1f438d130325bfd6dfa8e52b9cbb2be370d6fc961a3d5479237de543dc2bdf8c\
    fc71c1d377f817089dd8729b892da0d8830796a2657b04fa0c480b680310b03000000010001";

#[test]
fn the_recorded_key() {
    let bytes = hex::decode(RECORDED).unwrap();
    let key = PublicKey::new(&bytes[9..9 + 128], &[0, 1, 0, 1]).unwrap();
    assert_eq!(hex::encode(key.secure_body(0)), RECORDED);
    // Mode cipher, as laxcus6-hand-private-drop has it.
    assert_eq!(hex::encode(key.secure_body(2)), RECORDED.replacen("00", "02", 1));
    // Leading zeros are not part of a number.
    let padded = [&[0, 0], &bytes[9..9 + 128]].concat();
    assert_eq!(PublicKey::new(&padded, &[1, 0, 1]), Ok(key));
}

#[test]
fn what_is_no_key() {
    let modulus = [0xff; 64];
    assert_eq!(PublicKey::new(&[], &[3]), Err(PublicKeyError::Bits(0)));
    assert_eq!(PublicKey::new(&[0x7f; 64], &[3]), Err(PublicKeyError::Bits(511)));
    assert_eq!(PublicKey::new(&[0xff; 1025], &[3]), Err(PublicKeyError::Bits(8200)));
    let mut even = modulus;
    even[63] = 0xfe;
    assert_eq!(PublicKey::new(&even, &[3]), Err(PublicKeyError::EvenModulus));
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0], &modulus, &[1; 65]] {
        assert_eq!(PublicKey::new(&modulus, exponent), Err(PublicKeyError::Exponent), "{exponent:?}");
    }
    assert!(PublicKey::new(&modulus, &[3]).is_ok());
    assert_eq!(PublicKey::generate(511), Err(PublicKeyError::Bits(511)));
    assert_eq!(PublicKey::generate(8193), Err(PublicKeyError::Bits(8193)));
}

/// All bits of the modulus are there, for odd counts too, and it has no small factor, nor is it prime.
#[test]
fn a_generated_key() {
    for bits in [512, 513, 1024] {
        let key = PublicKey::generate(bits).unwrap();
        assert_eq!(key.exponent(), [1, 0, 1]);
        let modulus = BoxedUint::from_be_slice_vartime(key.modulus());
        assert_eq!(modulus.bits() as usize, bits);
        for small in [3_u64, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 65537] {
            let small = BoxedUint::from(small).to_nz().unwrap();
            assert!(modulus.rem(&small).is_nonzero().to_bool());
        }
        assert!(!crypto_primes::is_prime(crypto_primes::Flavor::Any, &modulus));
        assert_ne!(PublicKey::generate(bits).unwrap(), key);
    }
}
