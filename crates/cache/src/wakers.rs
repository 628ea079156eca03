use std::mem;
use std::task::Waker;

/// The wakers of those who wait for one thing that happens once.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    places: Vec<Option<Waker>>,
    free: Vec<u32>,
}

// A waker that is dropped may drop a task, and that whatever it holds: those that are no longer needed
// come back, to be dropped without a lock.
impl Wakers {
    /// Keeps a task's waker in the task's place, and gives it one if it has none.
    #[must_use = "to be dropped without a lock"]
    pub(crate) fn keep(&mut self, place: &mut Option<u32>, waker: &Waker) -> Option<Waker> {
        if let Some(held) = place.and_then(|place| self.at(place)) {
            let known = held.as_ref().is_some_and(|held| held.will_wake(waker));
            return if known { None } else { held.replace(waker.clone()) };
        }
        if let Some(free) = self.free.pop()
            && let Some(held) = self.at(free)
        {
            *place = Some(free);
            return held.replace(waker.clone());
        }
        // There are never as many tasks.
        *place = u32::try_from(self.places.len()).ok();
        self.places.push(Some(waker.clone()));
        None
    }

    /// Gives a task's place back.
    #[must_use = "to be dropped without a lock"]
    pub(crate) fn forget(&mut self, place: u32) -> Option<Waker> {
        let waker = self.at(place)?.take()?;
        self.free.push(place);
        Some(waker)
    }

    /// Takes all out, to be woken.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        mem::take(self).places.into_iter().flatten()
    }

    fn at(&mut self, place: u32) -> Option<&mut Option<Waker>> {
        self.places.get_mut(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn wakers<const N: usize>() -> [(Arc<Counting>, Waker); N] {
        std::array::from_fn(|_| {
            let counting = Arc::new(Counting::default());
            (Arc::clone(&counting), counting.into())
        })
    }

    #[test]
    fn each_task_has_one_place_for_the_waker_that_it_gave_last() {
        let [(one, a), (other, b)] = wakers();
        let (mut wakers, mut first, mut second) = (Wakers::default(), None, None);
        assert!(wakers.keep(&mut first, &a).is_none());
        assert!(wakers.keep(&mut second, &a).is_none());
        assert!(wakers.keep(&mut second, &a).is_none());
        assert!(wakers.keep(&mut first, &b).is_some_and(|old| old.will_wake(&a)));
        assert_eq!((first, second), (Some(0), Some(1)));
        wakers.take().for_each(Waker::wake);
        assert_eq!((one.0.load(SeqCst), other.0.load(SeqCst)), (1, 1));
        assert_eq!(wakers.take().count(), 0);
    }

    #[test]
    fn places_that_are_given_back_are_used_again() {
        let [(one, a), (other, b)] = wakers();
        let mut wakers = Wakers::default();
        let mut kept = None;
        assert!(wakers.keep(&mut kept, &b).is_none());
        for _ in 0..100 {
            let mut place = None;
            assert!(wakers.keep(&mut place, &a).is_none());
            assert_eq!(place, Some(1));
            assert!(wakers.forget(1).is_some_and(|held| held.will_wake(&a)));
            // Given back twice, it is free once.
            assert!(wakers.forget(1).is_none());
        }
        assert_eq!((wakers.places.len(), wakers.free.len()), (2, 1));
        wakers.take().for_each(Waker::wake);
        assert!(wakers.forget(0).is_none());
        assert_eq!((one.0.load(SeqCst), other.0.load(SeqCst), wakers.free.len()), (0, 1, 0));
    }
}
