//! The room in the server's budget of the packet that is coming to a connection, what it has and what it waits for, and
//! of what its peer has not taken (SPEC 11.17).

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::futures::OwnedNotified;

use super::coming::{Coming, PATIENCE, Place, Waits};
use super::connection::Room;
use super::shared::Budget;

/// What the packet that is coming has of the budget, and wants. Dropped, it waits no more, and nothing is coming.
pub(super) struct Claim {
    budget: Arc<Budget>,
    coming: Arc<Coming>,
    /// What it has while it is not whole, and its place, where it does not come at once.
    held: usize,
    place: Option<Place>,
    /// The place of what is not taken at once.
    untaken: Option<Place>,
    wanted: Option<Wanted>,
}

/// Room that is waited for.
struct Wanted {
    room: Room,
    /// Since when, and since when nobody was asked for his.
    since: Instant,
    patient: Instant,
    /// The news of freed room.
    freed: Pin<Box<OwnedNotified>>,
}

impl Claim {
    pub(super) const fn new(budget: Arc<Budget>, coming: Arc<Coming>) -> Self {
        Self { budget, coming, held: 0, place: None, untaken: None, wanted: None }
    }

    /// Takes room, if there is some; else it is waited for.
    pub(super) fn ask(&mut self, now: Instant, room: Room) -> bool {
        let taken = self.take(room);
        if !taken {
            let freed = Box::pin(self.budget.wait());
            self.wanted = Some(Wanted { room, since: now, patient: now, freed });
        }
        taken
    }

    fn take(&mut self, Room { bytes, whole }: Room) -> bool {
        if whole {
            return self.budget.take_last(bytes, self.held);
        }
        let taken = self.budget.take_coming(bytes, self.held);
        if taken {
            self.held += bytes;
        }
        taken
    }

    /// Whether room is waited for.
    pub(super) const fn waits(&self) -> bool {
        self.wanted.is_some()
    }

    /// Since when.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.wanted.as_ref().map(|wanted| wanted.since)
    }

    /// The room that was waited for, once it is taken.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Room> {
        let Some(Wanted { room, .. }) = self.wanted else { return Poll::Pending };
        if self.take(room) {
            self.wait_no_more();
            return Poll::Ready(room);
        }
        if let Some(Wanted { freed, .. }) = &mut self.wanted
            && freed.as_mut().poll(cx).is_ready()
        {
            // Some was freed since: it is asked for once more.
            cx.waker().wake_by_ref();
            *freed = Box::pin(self.budget.wait());
            self.budget.waits_no_more();
        }
        Poll::Pending
    }

    pub(super) fn wait_no_more(&mut self) {
        if self.wanted.take().is_some() {
            self.budget.waits_no_more();
        }
    }

    /// Whoever has waited for long enough asks another for his room; tells when he would again.
    pub(super) fn press(&mut self, now: Instant) -> Option<Instant> {
        let wanted = self.wanted.as_mut()?;
        if now >= wanted.patient + PATIENCE {
            wanted.patient = now;
            let Room { bytes, whole } = wanted.room;
            self.coming.make_room(now, !whole && self.budget.is_crowded(bytes));
        }
        Some(wanted.patient + PATIENCE)
    }

    /// Whether something is coming that others might want the room of.
    pub(super) const fn is_coming(&self) -> bool {
        self.held > 0
    }

    /// Whether the others know of it, or of what is not taken.
    pub(super) const fn is_known(&self) -> bool {
        self.place.is_some() || self.untaken.is_some()
    }

    /// Tells them how it gets on: how many bytes have come, and what it waits for.
    pub(super) fn report(&mut self, now: Instant, from: IpAddr, came: u64, waits: Waits, cx: &Context<'_>) {
        let place = self.place.get_or_insert_with(|| self.coming.enter(now, from, cx.waker()));
        place.update(now, self.held, came, waits);
    }

    /// Tells them of what the peer has not taken: how many bytes that are, and how many it has.
    pub(super) fn report_untaken(
        &mut self,
        now: Instant,
        to: IpAddr,
        held: usize,
        taken: u64,
        cx: &Context<'_>,
    ) {
        if held == 0 {
            self.untaken = None;
            return;
        }
        let place = self.untaken.get_or_insert_with(|| self.coming.enter(now, to, cx.waker()));
        place.update(now, held, taken, Waits::Taker);
    }

    /// Whether it has given its room to another.
    pub(super) fn is_lost(&self) -> bool {
        self.place.iter().chain(&self.untaken).any(Place::is_ended)
    }

    /// A packet has come, or never will.
    pub(super) fn came(&mut self) {
        self.place = None;
        self.budget.came(std::mem::take(&mut self.held));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.wait_no_more();
        self.came();
    }
}
