//! A request on its way: its pieces, and the questions for those that are missing.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::Dialect;

use super::Config;
use crate::keep::control;
use crate::keep::pieces::{Gather, Mark};
use crate::keep::table::Table;

/// So long a request tells how fast it came.
const LONG: usize = 32 << 10;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) gather: Gather,
    pub(super) created: Instant,
    pub(super) last: Instant,
    timeout: Duration,
    /// Bytes that came, and those of the questions for more.
    pub(super) came: usize,
    asked: usize,
    retries: u32,
    /// When the last question was.
    retried: Option<Instant>,
}

impl Group {
    pub(super) fn new(now: Instant, mark: Mark) -> Self {
        let (least, most) = Config::TIMEOUTS;
        Self {
            gather: Gather::new(mark),
            created: now,
            last: now,
            timeout: mark.timeout.unwrap_or(most).clamp(least, most),
            came: 0,
            asked: 0,
            retries: 0,
            retried: None,
        }
    }

    /// A piece has come that was missing: what is asked for comes.
    pub(super) const fn progresses(&mut self) {
        self.retries = 0;
    }

    /// Bytes a second at which it has come, where it is long enough to tell.
    pub(super) fn rate(&self, now: Instant) -> Option<u64> {
        let nanos = now.saturating_duration_since(self.created).as_nanos();
        let long = self.came >= LONG && nanos > 0;
        long.then(|| u64::try_from(self.came as u128 * 1_000_000_000 / nanos).unwrap_or(u64::MAX))
    }

    /// The bytes that may still leave for it, which are no more than came.
    pub(super) const fn credit(&self) -> usize {
        self.came.saturating_sub(self.asked)
    }

    /// When missing pieces are asked for next.
    pub(super) fn next_question(&self, config: &Config, table: &Table) -> Option<Instant> {
        if self.retries >= config.limits.retries || self.credit() == 0 {
            return None;
        }
        if table.accepted.is_none() {
            // lexst1: after each silence of the time that the pieces say.
            let since = self.retried.map_or(self.last, |at| at.max(self.last));
            return Some(since + self.timeout);
        }
        let silent = self.last + if self.gather.has_hole() { Config::GAP } else { config.tail };
        let pause = Config::GAP * (1 << self.retries.saturating_sub(2).min(4));
        Some(self.retried.map_or(silent, |at| silent.max(at + pause)))
    }

    /// Whether there is a hole that laxcus6 asks about at once.
    pub(super) fn asks_for_gap(&self, now: Instant, config: &Config) -> bool {
        let ready = self.retried.is_none_or(|at| now >= at + Config::GAP);
        ready && self.retries < config.limits.retries && self.gather.has_hole()
    }

    /// Questions for what is missing, or for what is missing before the last piece that is there.
    pub(super) fn questions(
        &mut self,
        now: Instant,
        dialect: &Dialect,
        bind_ip: Option<IpAddr>,
        table: &Table,
        before_last: bool,
    ) -> Vec<Bytes> {
        self.retries += 1;
        self.retried = Some(now);
        // A serial is at least five bytes, and then there is the rest of the packet.
        let missing = self.gather.missing(before_last, self.credit() / 5 + 1);
        let first = dialect.first_serial();
        let serials: Vec<u32> = missing.into_iter().map(|index| first + index).collect();
        let mut questions = Vec::new();
        for serials in serials.chunks(table.retry_serials) {
            let mut serials = serials;
            // As many as fit into what has come.
            while !serials.is_empty() {
                let Ok(bytes) = control::retry(dialect, bind_ip, self.gather.identity(), serials) else {
                    break;
                };
                if bytes.len() <= self.credit() {
                    self.asked += bytes.len();
                    questions.push(bytes);
                    break;
                }
                serials = &serials[..serials.len() / 2];
            }
        }
        questions
    }
}
