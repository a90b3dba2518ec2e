//! What a laxcus6 client does before its requests: it asks SECURE_QUERY, and goes on without a cipher if the
//! server wants none (SPEC 11.4).

use fixp_codec::{Code, Dialect, Packet, laxcus6};

use crate::tables;

pub(crate) const QUERY: Code = laxcus6::notify::SECURE_QUERY;
pub(crate) const NOTIFY: Code = laxcus6::answer::SECURE_NOTIFY;
/// Sent instead of an answer, where the server wants a cipher for this request.
pub(crate) const WANTED: Code = laxcus6::answer::ENCRYPT_CONTENT_NOTIFY;

/// The bit of the mode that wants a cipher; in a negative mode too, which is one that nobody knows.
const CIPHER: i32 = 2;

/// Whether requests of this dialect ask first.
pub(crate) fn asks(dialect: &Dialect) -> bool {
    tables::of(dialect).asks_security && dialect.writes(QUERY)
}

/// Whether this packet goes without asking, as recorded: TEST, EXIT, the security calls themselves, and what
/// is no request.
pub(crate) fn exempt(code: Code) -> bool {
    use laxcus6::notify::*;
    !code.is_request()
        || matches!(code, TEST | EXIT | SECURE_QUERY | SECURE_CREATE | SECURE_DROP)
        || matches!(code, PRIVATE_SECURE_QUERY | PRIVATE_SECURE_CREATE | PRIVATE_SECURE_DROP)
}

/// Whether a server with this SECURE_NOTIFY takes requests in clear.
///
/// # Errors
///
/// The mode that it wants, or the code of SECURE_NOTIFY where it tells none.
pub fn allows(notify: &Packet) -> Result<(), u16> {
    let Some(&mode) = notify.entity.first_chunk() else { return Err(1001) };
    let mode = i32::from_le_bytes(mode);
    if mode & CIPHER == 0 { Ok(()) } else { Err(mode as u16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (mode, allowed) in [(0, Ok(())), (1, Ok(())), (2, Err(2)), (3, Err(3)), (-1, Err(0xffff))] {
            let entity = i32::to_le_bytes(mode).to_vec();
            assert_eq!(allows(&Packet::new(NOTIFY).with_entity(entity)), allowed, "{mode}");
        }
        assert_eq!(allows(&Packet::new(NOTIFY)), Err(1001));
    }
}
