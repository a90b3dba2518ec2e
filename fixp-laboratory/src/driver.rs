//! What binds the [`World`] to tokio: one lock, and one task that sleeps until the next thing happens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::world::World;

/// The world, and its clock.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    start: Instant,
    /// Something will happen sooner than the driver knows of, or never.
    changed: Arc<Notify>,
}

impl Shared {
    /// Starts the driver in the current runtime.
    pub(crate) fn start(seed: u64) -> Arc<Self> {
        let changed = Arc::new(Notify::new());
        let world = Mutex::new(World::new(seed));
        let shared = Arc::new(Self { world, start: Instant::now(), changed: changed.clone() });
        tokio::spawn(drive(Arc::downgrade(&shared), changed));
        shared
    }

    /// When a time of the world is, for tokio.
    pub(crate) fn instant(&self, time: Duration) -> Instant {
        // A century stands for what tokio cannot say.
        self.start + time.min(Duration::from_secs(100 * 366 * 86_400))
    }

    /// Does something to the world as it is now. What follows from it without taking time has happened when
    /// this returns.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.lock();
        // Without a runtime, as when streams are dropped after the end of a run, tokio's clock is the real one.
        let now = if Handle::try_current().is_ok() { self.start.elapsed() } else { world.now };
        world.advance(now);
        let result = act(&mut world);
        world.advance(now);
        let woken = std::mem::take(&mut world.woken);
        let next = world.next_time();
        let changed = next != std::mem::replace(&mut world.driven, next);
        drop(world);
        // Whatever a waker does, it finds the lock free.
        for waker in woken {
            waker.wake();
        }
        if changed {
            self.changed.notify_one();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A filter that panics fails its test, whose other tasks may still look.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

async fn drive(shared: Weak<Shared>, changed: Arc<Notify>) {
    while let Some(next) = next(&shared) {
        match next {
            // Whether the time has come or the world has changed, the next round sees to it.
            Some(next) => _ = timeout_at(next, changed.notified()).await,
            None => changed.notified().await,
        }
    }
}

/// Lets happen what is due, and says when something is due next; nothing when the world has gone.
fn next(shared: &Weak<Shared>) -> Option<Option<Instant>> {
    let shared = shared.upgrade()?;
    Some(shared.with(|world| world.next_time()).map(|time| shared.instant(time)))
}
