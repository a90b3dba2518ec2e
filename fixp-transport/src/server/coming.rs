//! The entities that are coming to a server, of all its connections: where there is no room, one whose peer lets it
//! wait for it gives its own (SPEC 11.17).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::admission::Source;

/// So long somebody waits for room before another gives his: bytes that are under way need no longer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);
/// Whose entity comes faster than so many bytes a second gives no room: it will soon be there.
const LEAST: u64 = 64 << 10;
/// So long one waits for room itself before it gives what it has: until then the others may come to their ends.
const STUCK: Duration = Duration::from_secs(2);
/// What is between two that give theirs: whoever got room from the first has it by then. All are looked at each time.
const APART: Duration = Duration::from_millis(10);

/// Those that do not come at once.
#[derive(Debug, Default)]
pub(crate) struct Coming {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    number: u64,
    entities: BTreeMap<u64, Entity>,
    /// When one gave its room last.
    ended: Option<Instant>,
}

/// What an entity that has not come waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Waits {
    /// The handler, which does not read.
    Reader,
    Room,
    Peer,
}

#[derive(Debug)]
struct Entity {
    source: Source,
    /// The room that it has.
    held: usize,
    waits: Waits,
    /// Since when, and what was to come then, and is now.
    since: Instant,
    before: u64,
    left: u64,
    end: Arc<AtomicBool>,
    waker: Waker,
}

impl Entity {
    /// The bytes a second that have come since it waits for the same, and for how long that is.
    fn speed(&self, now: Instant) -> (u64, Duration) {
        let time = now.saturating_duration_since(self.since);
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        (self.before.saturating_sub(self.left).saturating_mul(1000) / millis, time)
    }

    /// Whether it is to blame that there is no room.
    fn is_slow(&self, now: Instant) -> bool {
        let (speed, time) = self.speed(now);
        match self.waits {
            Waits::Reader => false,
            Waits::Room => time >= STUCK,
            Waits::Peer => time >= PATIENCE && speed < LEAST,
        }
    }
}

impl Coming {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one in, which is told by this waker that it gives its room.
    pub(crate) fn enter(self: &Arc<Self>, now: Instant, from: IpAddr, waker: &Waker) -> Place {
        let end = Arc::new(AtomicBool::new(false));
        let mut list = self.list();
        list.number += 1;
        let number = list.number;
        let (source, waker, ended) = (Source::of(from), waker.clone(), Arc::clone(&end));
        let waits = Waits::Reader;
        let entity = Entity { source, held: 0, waits, since: now, before: 0, left: 0, end: ended, waker };
        list.entities.insert(number, entity);
        drop(list);
        Place { coming: Arc::clone(self), number, end }
    }

    /// Of the source that holds most in slow ones, the slowest gives its room. Where none is slow, but they have no
    /// room for each other (`crowded`), one of them that waits for it; but not the oldest of all.
    pub(crate) fn make_room(&self, now: Instant, crowded: bool) {
        let mut list = self.list();
        if list.ended.is_some_and(|ended| now < ended + APART) {
            return;
        }
        let oldest = list.entities.keys().next().copied();
        let slow = |(number, entity): &(&u64, &Entity)| {
            entity.is_slow(now) && (entity.waits == Waits::Peer || crowded && Some(**number) != oldest)
        };
        let mut held: HashMap<(Waits, Source), usize> = HashMap::new();
        for (_, entity) in list.entities.iter().filter(slow) {
            *held.entry((entity.waits, entity.source)).or_default() += entity.held;
        }
        let found = list.entities.iter().filter(slow).map(|(number, entity)| {
            let (speed, time) = entity.speed(now);
            let held = held.get(&(entity.waits, entity.source)).copied().unwrap_or_default();
            ((entity.waits, held, Reverse(speed), time), *number)
        });
        let Some((_, number)) = found.max() else { return };
        list.ended = Some(now);
        if let Some(entity) = list.entities.remove(&number) {
            drop(list);
            entity.end.store(true, SeqCst);
            entity.waker.wake();
        }
    }
}

/// The place of an entity that is coming; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    coming: Arc<Coming>,
    number: u64,
    end: Arc<AtomicBool>,
}

impl Place {
    /// Says what it holds, what is to come, and what it waits for.
    pub(crate) fn update(&self, now: Instant, held: usize, left: u64, waits: Waits) {
        if let Some(entity) = self.coming.list().entities.get_mut(&self.number) {
            (entity.held, entity.left) = (held, left);
            if entity.waits != waits {
                (entity.waits, entity.since, entity.before) = (waits, now, left);
            }
        }
    }

    /// Whether it has given its room.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.load(SeqCst)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.coming.list().entities.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;

    use super::*;

    #[test]
    fn the_slowest_of_who_holds_most_in_slow_ones_gives_its_room() {
        let (coming, begun) = (Arc::new(Coming::default()), Instant::now());
        let at = |millis| begun + Duration::from_millis(millis);
        // The last number of an address, what is held, what has come in a second, what it waits for.
        let all = [
            (1, 1000, 0, Waits::Peer),
            (2, 700, 10, Waits::Peer),
            (2, 700, 5, Waits::Peer),
            (3, 5000, 100_000, Waits::Peer),
            (3, 9000, 0, Waits::Reader),
            (4, 9000, 0, Waits::Room),
        ];
        let places: Vec<_> = all
            .iter()
            .map(|(host, held, _, waits)| {
                let place = coming.enter(begun, IpAddr::from([10, 0, 0, *host]), noop_waker_ref());
                place.update(begun, *held, 1 << 20, *waits);
                place
            })
            .collect();
        let ended = || places.iter().map(|place| u8::from(place.is_ended())).collect::<Vec<_>>();
        coming.make_room(at(199), true);
        assert_eq!(ended(), [0; 6]);
        for (place, (_, held, came, waits)) in places.iter().zip(all) {
            place.update(at(1000), held, (1 << 20) - came, waits);
        }
        coming.make_room(at(1000), true);
        assert_eq!(ended(), [0, 0, 1, 0, 0, 0]);
        // One after the other.
        coming.make_room(at(1009), true);
        assert_eq!(ended(), [0, 0, 1, 0, 0, 0]);
        coming.make_room(at(1010), true);
        assert_eq!(ended(), [1, 0, 1, 0, 0, 0]);
        for time in [1020, 1030, 1040] {
            coming.make_room(at(time), true);
            assert_eq!(ended(), [1, 1, 1, 0, 0, 0]);
        }
        places[3].update(at(1900), 5000, 1, Waits::Reader);
        // Who waits for room itself gives none, unless they stand in each other's way.
        coming.make_room(at(2000), false);
        assert_eq!(ended(), [1, 1, 1, 0, 0, 0]);
        coming.make_room(at(2010), true);
        assert_eq!(ended(), [1, 1, 1, 0, 0, 1]);
        drop(places);
        assert_eq!(coming.list().entities.len(), 0);
    }

    #[test]
    fn the_oldest_may_wait_for_room() {
        let (coming, begun) = (Arc::new(Coming::default()), Instant::now());
        let place = coming.enter(begun, IpAddr::from([10, 0, 0, 1]), noop_waker_ref());
        place.update(begun, 1000, 1, Waits::Room);
        coming.make_room(begun + Duration::from_secs(60), true);
        assert!(!place.is_ended());
    }
}
