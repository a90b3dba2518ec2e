pub fn ledger(_: &[u8]) {}
