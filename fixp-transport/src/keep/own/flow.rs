//! Flow control: how far a peer may go, and how far we may (SPEC 10.15).

/// What a receiver grants: what was consumed, and a window beyond it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    window: u64,
    limit: u64,
    consumed: u64,
}

impl Granted {
    pub(super) const fn new(window: u64) -> Self {
        Self { window, limit: window, consumed: 0 }
    }

    /// How far the peer may go, as it knows or will be told.
    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// How far the peer may be ahead.
    pub(super) const fn window(&self) -> u64 {
        self.window
    }

    /// So much more was consumed. True where half of the window is used, and the peer is to be told.
    pub(super) const fn consume(&mut self, more: u64) -> bool {
        self.consumed += more;
        let next = self.consumed + self.window;
        let tell = next - self.limit >= self.window.div_ceil(2);
        if tell {
            self.limit = next;
        }
        tell
    }
}

/// What a sender was granted, and what it has used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    limit: u64,
    used: u64,
}

impl Allowance {
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// What may still be used.
    pub(super) const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// What has been used.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    pub(super) const fn take(&mut self, amount: u64) {
        self.used += amount;
    }

    /// A limit has come. One that is lower than an earlier one says nothing. True where there is more now.
    pub(super) const fn raise(&mut self, limit: u64) -> bool {
        let more = limit > self.limit;
        if more {
            self.limit = limit;
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_told_when_half_is_used() {
        let mut granted = Granted::new(100);
        assert!(!granted.consume(49));
        assert_eq!(granted.limit(), 100);
        assert!(granted.consume(1));
        assert_eq!(granted.limit(), 150);
        assert!(!granted.consume(49));
    }

    #[test]
    fn a_limit_never_falls() {
        let mut allowance = Allowance::new(10);
        allowance.take(10);
        assert!(!allowance.raise(5));
        assert_eq!(allowance.left(), 0);
        assert!(allowance.raise(15));
        assert_eq!(allowance.left(), 5);
    }
}
