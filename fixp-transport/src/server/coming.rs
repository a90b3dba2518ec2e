//! What is coming to a server that is not whole, and what its peers do not take of it, of all connections: where there
//! is no room, one whose peer lets it wait gives its own (SPEC 11.17).

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
/// The same of one that is written to: of what its peer has taken the system tells late, when a good part of its buffer
/// is free, which takes most of a round trip.
const LATE: Duration = Duration::from_millis(500);
/// What goes on faster than so many bytes a second gives no room: it will soon be over.
const LEAST: u64 = 64 << 10;
/// So long one waits for room itself before it gives what it has: until then the others may come to their ends.
const STUCK: Duration = Duration::from_secs(2);
/// What is between two that give theirs: whoever got room from the first has it by then. All are looked at each time.
const APART: Duration = Duration::from_millis(10);

/// Those that do not come, or go, at once.
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

/// What an entity waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waits {
    /// The handler, which does not read.
    Reader,
    Room,
    /// The peer, from whom it comes.
    Peer,
    /// The peer, who is to take it.
    Taker,
}

#[derive(Debug)]
struct Entity {
    source: Source,
    /// The room that it has.
    held: usize,
    waits: Waits,
    /// Since when, and how many bytes had gone on by then, and have now.
    since: Instant,
    before: u64,
    count: u64,
    end: Arc<AtomicBool>,
    waker: Waker,
}

impl Entity {
    /// The bytes a second that have gone on since it waits for the same, and for how long that is.
    fn speed(&self, now: Instant) -> (u64, Duration) {
        let time = now.saturating_duration_since(self.since);
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        (self.count.saturating_sub(self.before).saturating_mul(1000) / millis, time)
    }

    /// Whether it is to blame that there is no room.
    fn is_slow(&self, now: Instant) -> bool {
        let (speed, time) = self.speed(now);
        match self.waits {
            Waits::Reader => false,
            Waits::Room => time >= STUCK,
            Waits::Peer => time >= PATIENCE && speed < LEAST,
            Waits::Taker => time >= LATE && speed < LEAST,
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
        let entity = Entity { source, held: 0, waits, since: now, before: 0, count: 0, end: ended, waker };
        list.entities.insert(number, entity);
        drop(list);
        Place { coming: Arc::clone(self), number, end }
    }

    /// Of the source that holds most in slow ones, the slowest gives its room. Where what is coming has no room for
    /// each other (`crowded`), only of that; and where none is slow, one that waits for room, but not the oldest of all.
    pub(crate) fn make_room(&self, now: Instant, crowded: bool) {
        let mut list = self.list();
        if list.ended.is_some_and(|ended| now < ended + APART) {
            return;
        }
        let coming = |(_, entity): &(&u64, &Entity)| entity.waits != Waits::Taker;
        let oldest = list.entities.iter().find(coming).map(|(number, _)| *number);
        let slow = |(number, entity): &(&u64, &Entity)| {
            entity.is_slow(now)
                && match entity.waits {
                    Waits::Reader => false,
                    Waits::Room => crowded && Some(**number) != oldest,
                    Waits::Peer => true,
                    Waits::Taker => !crowded,
                }
        };
        let group = |entity: &Entity| (entity.waits != Waits::Room, entity.source);
        let mut held: HashMap<(bool, Source), usize> = HashMap::new();
        for (_, entity) in list.entities.iter().filter(slow) {
            *held.entry(group(entity)).or_default() += entity.held;
        }
        let found = list.entities.iter().filter(slow).map(|(number, entity)| {
            let (speed, time) = entity.speed(now);
            let group = group(entity);
            ((group.0, held.get(&group).copied(), Reverse(speed), time), *number)
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
    /// Says what it holds, how many bytes have gone on, and what it waits for.
    pub(crate) fn update(&self, now: Instant, held: usize, count: u64, waits: Waits) {
        if let Some(entity) = self.coming.list().entities.get_mut(&self.number) {
            (entity.held, entity.count) = (held, count);
            if entity.waits != waits {
                (entity.waits, entity.since, entity.before) = (waits, now, count);
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
                place.update(begun, *held, 0, *waits);
                place
            })
            .collect();
        let ended = || places.iter().map(|place| u8::from(place.is_ended())).collect::<Vec<_>>();
        coming.make_room(at(199), true);
        assert_eq!(ended(), [0; 6]);
        for (place, (_, held, came, waits)) in places.iter().zip(all) {
            place.update(at(1000), held, came, waits);
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
        places[3].update(at(1900), 5000, 200_000, Waits::Reader);
        // Who waits for room itself gives none, unless they stand in each other's way.
        coming.make_room(at(2000), false);
        assert_eq!(ended(), [1, 1, 1, 0, 0, 0]);
        coming.make_room(at(2010), true);
        assert_eq!(ended(), [1, 1, 1, 0, 0, 1]);
        drop(places);
        assert_eq!(coming.list().entities.len(), 0);
    }

    #[test]
    fn who_does_not_take_what_is_written_gives_its_room() {
        let (coming, begun) = (Arc::new(Coming::default()), Instant::now());
        let at = |millis| begun + Duration::from_millis(millis);
        // The last number of an address, what is held, what has gone on in a second, and whether it is taken or comes.
        let all = [
            (1, 2000, 0, Waits::Peer),
            (2, 1500, 0, Waits::Peer),
            (2, 1000, 10, Waits::Taker),
            (3, 9000, 100_000, Waits::Taker),
        ];
        let places = all.map(|(host, held, _, waits)| {
            let place = coming.enter(begun, IpAddr::from([10, 0, 0, host]), noop_waker_ref());
            place.update(begun, held, 0, waits);
            place
        });
        let ended = || places.iter().map(|place| u8::from(place.is_ended())).collect::<Vec<_>>();
        for (place, (_, held, went, waits)) in places.iter().zip(all) {
            place.update(at(1000), held, went, waits);
        }
        // Where it would not help, nobody does.
        for (time, crowded, expected) in [
            (1000, true, [1, 0, 0, 0]),
            (1010, false, [1, 1, 0, 0]),
            (1020, true, [1, 1, 0, 0]),
            (1020, false, [1, 1, 1, 0]),
            (1030, false, [1, 1, 1, 0]),
            (3000, false, [1, 1, 1, 1]),
        ] {
            coming.make_room(at(time), crowded);
            assert_eq!(ended(), expected, "after {time} ms");
        }
    }

    /// Whoever is older and does not take is not one of them.
    #[test]
    fn the_oldest_may_wait_for_room() {
        let (coming, begun) = (Arc::new(Coming::default()), Instant::now());
        let older = coming.enter(begun, IpAddr::from([10, 0, 0, 1]), noop_waker_ref());
        older.update(begun, 1000, 1, Waits::Taker);
        let place = coming.enter(begun, IpAddr::from([10, 0, 0, 1]), noop_waker_ref());
        place.update(begun, 1000, 1, Waits::Room);
        coming.make_room(begun + Duration::from_secs(60), true);
        assert!(!place.is_ended());
    }
}
