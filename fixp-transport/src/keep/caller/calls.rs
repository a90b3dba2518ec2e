//! The requests that have not ended, each at a place that its ticket names.

use super::{Call, Ticket};

/// Places that are kept though nothing is under way.
const KEPT: usize = 64;

/// Gone through only to end them, in their order.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// With the serial that its ticket has.
    places: Vec<Option<(u64, Call)>>,
    free: Vec<usize>,
    /// The serial of the next one.
    next: u64,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, call: Call) -> Ticket {
        let ticket = Ticket { serial: self.next, place: self.free.pop().unwrap_or(self.places.len()) };
        self.next += 1;
        match self.places.get_mut(ticket.place) {
            Some(place) => *place = Some((ticket.serial, call)),
            None => self.places.push(Some((ticket.serial, call))),
        }
        ticket
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Call> {
        match self.places.get(ticket.place)? {
            Some((serial, call)) if *serial == ticket.serial => Some(call),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Call> {
        match self.places.get_mut(ticket.place)? {
            Some((serial, call)) if *serial == ticket.serial => Some(call),
            _ => None,
        }
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.get(ticket).is_some()
    }

    /// Forgets one that is there.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        if !self.contains(ticket) {
            return;
        }
        if let Some(place) = self.places.get_mut(ticket.place) {
            *place = None;
        }
        self.free.push(ticket.place);
        if self.len() == 0 && self.places.len() > KEPT {
            (self.places, self.free) = Default::default();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Ticket, &Call)> {
        self.places.iter().enumerate().filter_map(|(place, at)| {
            let (serial, call) = at.as_ref()?;
            Some((Ticket { serial: *serial, place }, call))
        })
    }
}
