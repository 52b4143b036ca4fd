//! Keys in the order in which they came, and a hand that goes from the oldest to the newest, and then begins anew.
//!
//! What is new stands before the hand's end, not where the hand just made room, as in a plain CLOCK: the hand reaches it
//! soon after those that it spared, and what nobody asked for meanwhile goes. So a crowd of keys that are asked for once
//! pushes out its own kind, and hardly what is used (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024).

/// No place.
const NONE: usize = usize::MAX;

#[derive(Debug)]
pub(crate) struct Arrivals<K> {
    places: Vec<Place<K>>,
    /// Places that hold nothing.
    free: Vec<usize>,
    oldest: usize,
    newest: usize,
    hand: usize,
}

#[derive(Debug)]
struct Place<K> {
    key: Option<K>,
    older: usize,
    newer: usize,
}

impl<K: Copy> Arrivals<K> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), oldest: NONE, newest: NONE, hand: NONE }
    }

    /// Places, those that hold nothing too.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// Places that hold nothing.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// The same without places that hold nothing; `moved` is told the new place of each key.
    pub(crate) fn closed_up(&self, mut moved: impl FnMut(K, usize)) -> Self {
        let mut new = Self::new();
        let mut at = self.oldest;
        while let Some(place) = self.places.get(at) {
            if let Some(key) = place.key {
                let to = new.push(key);
                if at == self.hand {
                    new.hand = to;
                }
                moved(key, to);
            }
            at = place.newer;
        }
        new
    }

    /// What is in a place.
    pub(crate) fn get(&self, at: usize) -> Option<K> {
        self.places.get(at)?.key
    }

    /// Adds the newest; returns its place.
    pub(crate) fn push(&mut self, key: K) -> usize {
        let place = Place { key: Some(key), older: self.newest, newer: NONE };
        let at = self.free.pop().unwrap_or(self.places.len());
        if at == self.places.len() {
            self.places.push(place);
        } else {
            self.places[at] = place;
        }
        match self.newest {
            NONE => self.oldest = at,
            newest => self.places[newest].newer = at,
        }
        self.newest = at;
        at
    }

    /// The next key under the hand, which moves on.
    pub(crate) fn step(&mut self) -> Option<K> {
        let at = if self.hand == NONE { self.oldest } else { self.hand };
        let place = self.places.get(at)?;
        self.hand = place.newer;
        place.key
    }

    /// Empties a place that holds something.
    pub(crate) fn remove(&mut self, at: usize) {
        let Place { older, newer, .. } = self.places[at];
        match older {
            NONE => self.oldest = newer,
            older => self.places[older].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.places[newer].older = older,
        }
        if self.hand == at {
            self.hand = newer;
        }
        self.places[at].key = None;
        self.free.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Push,
        Step,
        Remove(prop::sample::Index),
        CloseUp,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::Push),
            3 => Just(Event::Step),
            2 => any::<prop::sample::Index>().prop_map(Event::Remove),
            1 => Just(Event::CloseUp),
        ]
    }

    proptest! {
        /// A plain list of keys, oldest first, and a hand that knows which is next.
        #[test]
        fn it_goes_round_in_the_order_of_arrival(events in prop::collection::vec(event(), 0..300)) {
            let mut arrivals = Arrivals::new();
            let (mut plain, mut hand) = (Vec::<(u32, usize)>::new(), 0);
            for (number, event) in (0u32..).zip(events) {
                match event {
                    Event::Push => plain.push((number, arrivals.push(number))),
                    Event::Step => {
                        if hand == plain.len() {
                            hand = 0;
                        }
                        prop_assert_eq!(arrivals.step(), plain.get(hand).map(|(key, _)| *key));
                        // Past the newest it begins anew, whatever comes meanwhile.
                        hand = if plain.is_empty() { 0 } else { hand + 1 };
                        if hand == plain.len() {
                            hand = 0;
                        }
                    }
                    Event::Remove(index) if !plain.is_empty() => {
                        let gone = index.index(plain.len());
                        let (_, at) = plain.remove(gone);
                        arrivals.remove(at);
                        if gone < hand {
                            hand -= 1;
                        }
                        if hand == plain.len() {
                            hand = 0;
                        }
                    }
                    Event::Remove(_) => {}
                    Event::CloseUp => {
                        let mut places = std::collections::HashMap::new();
                        arrivals = arrivals.closed_up(|key, at| assert_eq!(places.insert(key, at), None));
                        for (key, at) in &mut plain {
                            *at = places[key];
                        }
                        prop_assert_eq!((arrivals.places(), arrivals.free()), (plain.len(), 0));
                    }
                }
                let held = (0..arrivals.places()).filter_map(|at| arrivals.get(at)).count();
                prop_assert_eq!(held, plain.len());
            }
        }
    }
}
