pub fn ordered(_: &[u8]) {}
