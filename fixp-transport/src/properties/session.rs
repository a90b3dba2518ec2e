pub fn session(_: &[u8]) {}
