//! Who is connected to the broker: how many may be, who came last, and who has to go.
//!
//! Plain data behind the printer's lock; a client learns of its end through its own watch.

use tokio::sync::watch;

/// The clients connected now, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    connected: Vec<(u64, watch::Sender<bool>)>,
    last: u64,
}

/// A client's place. It is given back with [`Clients::leave`].
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) number: u64,
    /// True when the client is thrown out.
    pub(crate) kicked: watch::Receiver<bool>,
}

impl Clients {
    /// A place for one more; none if `most` are here. With `kicks`, everyone before has to go.
    pub(crate) fn enter(&mut self, most: usize, kicks: bool) -> Option<Place> {
        if kicks {
            for (_, kick) in self.connected.drain(..) {
                kick.send_replace(true);
            }
        }
        if self.connected.len() >= most {
            return None;
        }
        self.last += 1;
        let kick = watch::Sender::new(false);
        let kicked = kick.subscribe();
        self.connected.push((self.last, kick));
        Some(Place { number: self.last, kicked })
    }

    pub(crate) fn leave(&mut self, number: u64) {
        self.connected.retain(|(other, _)| *other != number);
    }

    /// Whether this is the client that came last.
    pub(crate) fn is_last(&self, number: u64) -> bool {
        self.connected.last().is_some_and(|(last, _)| *last == number)
    }

    pub(crate) fn count(&self) -> usize {
        self.connected.len()
    }

    /// How many have come since the simulator began, those that are gone included.
    pub(crate) fn came(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_the_last_may_throw_the_others_out() {
        let mut clients = Clients::default();
        let first = clients.enter(2, false).unwrap();
        let second = clients.enter(2, false).unwrap();
        assert!(clients.enter(2, false).is_none());
        assert!(clients.is_last(second.number) && !clients.is_last(first.number));
        clients.leave(second.number);
        let third = clients.enter(2, true).unwrap();
        assert!(*first.kicked.borrow() && !*third.kicked.borrow());
        assert_eq!((clients.count(), clients.came()), (1, 3));
    }
}
