//! One-way calls that run: nobody waits for them but a server that shuts down (SPEC 13.6).

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fixp_transport::server::Source;
use tokio::sync::watch;

/// Those of one server. Dropping it ends them.
pub(crate) struct OneWay {
    /// How many run at a time, and how many of one source, so that nobody takes the places of all.
    pub(crate) limit: usize,
    pub(crate) limit_of_one: usize,
    taken: Arc<Mutex<Taken>>,
    /// Each that runs holds a receiver, and ends when this is gone.
    end: watch::Sender<()>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<Source, usize, foldhash::fast::RandomState>,
}

impl OneWay {
    pub(crate) fn new(limit: usize, limit_of_one: usize) -> Self {
        Self { limit, limit_of_one, taken: Arc::default(), end: watch::Sender::new(()) }
    }

    /// Lets it run, if there is a place.
    pub(crate) fn begin(&self, of: IpAddr, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let Some(place) = self.place(Source::of(of)) else { return false };
        let mut end = self.end.subscribe();
        tokio::spawn(async move {
            let _place = place;
            let work = pin!(work);
            tokio::select! {
                biased;
                _ = end.changed() => {}
                () = work => {}
            }
        });
        true
    }

    /// Waits until none runs.
    pub(crate) async fn finished(&self) {
        self.end.closed().await;
    }

    fn place(&self, source: Source) -> Option<Place> {
        let mut taken = lock(&self.taken);
        let by = taken.by.get(&source).copied().unwrap_or(0);
        if taken.all >= self.limit || by >= self.limit_of_one {
            return None;
        }
        taken.all += 1;
        taken.by.insert(source, by + 1);
        drop(taken);
        Some(Place { taken: Arc::clone(&self.taken), source })
    }
}

/// A place that is given back in the end.
struct Place {
    taken: Arc<Mutex<Taken>>,
    source: Source,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Some(by) = taken.by.get_mut(&self.source) {
            *by -= 1;
            if *by == 0 {
                taken.by.remove(&self.source);
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// SPEC 13.6.
    #[test]
    fn one_peer_leaves_places_to_others() {
        let [greedy, other, third]: [Source; 3] =
            ["10.0.0.1", "10.0.0.2", "2001:db8::1"].map(|ip| Source::of(ip.parse().unwrap()));
        let one_way = OneWay::new(4, 2);
        let mut places: Vec<_> = (0..2).map(|_| one_way.place(greedy).unwrap()).collect();
        assert!(one_way.place(greedy).is_none());
        places.push(one_way.place(other).unwrap());
        places.push(one_way.place(third).unwrap());
        assert!(one_way.place(other).is_none(), "there are no more for all");
        places.clear();
        let taken = lock(&one_way.taken);
        assert_eq!((taken.all, taken.by.len()), (0, 0));
    }
}
