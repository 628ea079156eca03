use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use crate::per_thread::{PerThread, own_part};

/// How many ticks make up the limit.
const TICKS: u32 = 8;

/// One time limit for the answers to all calls on one connection.
///
/// A timer of the runtime for each call costs more than all else that we do for it. Here a call only
/// leaves its waker, and a clock that ticks eight times per limit wakes those that have waited for
/// longer; no call is given up early, and none waits longer than an eighth over.
#[derive(Default)]
pub(crate) struct Patience {
    rooms: PerThread<Seats>,
    now: AtomicU32,
    ticking: AtomicBool,
    somebody: Notify,
}

#[derive(Default)]
struct Seats {
    seats: Vec<Option<Waiting>>,
    free: Vec<usize>,
}

impl Seats {
    fn taken(&self) -> usize {
        self.seats.len() - self.free.len()
    }
}

struct Waiting {
    since: u32,
    waker: Waker,
}

/// A call's place; it is left when this is dropped.
struct Seat<'a> {
    rooms: &'a PerThread<Seats>,
    room: usize,
    number: usize,
    since: u32,
}

impl Patience {
    /// What the future gives, or `None` when it did not within the limit.
    pub(crate) async fn limit<F: Future>(&self, mut future: Pin<&mut F>) -> Option<F::Output> {
        let mut seat: Option<Seat<'_>> = None;
        poll_fn(|context| {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Poll::Ready(Some(value));
            }
            match &seat {
                None => seat = Some(self.take_seat(context.waker())),
                Some(seat) if self.is_over(seat.since) => return Poll::Ready(None),
                Some(seat) => seat.set_waker(context.waker()),
            }
            Poll::Pending
        })
        .await
    }

    /// Ticks as long as somebody waits.
    pub(crate) async fn tick(&self, limit: Duration) {
        loop {
            self.ticking.store(false, Ordering::SeqCst);
            // Who sits down after this look finds the clock at rest and starts it.
            if self.is_empty() {
                self.somebody.notified().await;
            }
            self.ticking.store(true, Ordering::SeqCst);
            tokio::time::sleep(limit / TICKS).await;
            self.now.fetch_add(1, Ordering::SeqCst);
            for room in self.rooms.all() {
                let over = room.seats.iter().flatten().filter(|it| self.is_over(it.since));
                let wakers: Vec<Waker> = over.map(|waiting| waiting.waker.clone()).collect();
                // A woken task may leave its seat at once.
                drop(room);
                wakers.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// The tick in which the wait began may have been nearly over: it does not count.
    fn is_over(&self, since: u32) -> bool {
        self.now.load(Ordering::Relaxed).wrapping_sub(since) > TICKS
    }

    fn take_seat(&self, waker: &Waker) -> Seat<'_> {
        let room = own_part();
        let since = self.now.load(Ordering::Relaxed);
        let waiting = Some(Waiting { since, waker: waker.clone() });
        let mut inside = self.rooms.part(room);
        let number = if let Some(number) = inside.free.pop() {
            inside.seats[number] = waiting;
            number
        } else {
            inside.seats.push(waiting);
            inside.seats.len() - 1
        };
        drop(inside);
        if !self.ticking.load(Ordering::SeqCst) && !self.ticking.swap(true, Ordering::SeqCst) {
            self.somebody.notify_one();
        }
        Seat { rooms: &self.rooms, room, number, since }
    }

    fn is_empty(&self) -> bool {
        self.rooms.all().all(|room| room.taken() == 0)
    }

    /// Tells whether more than one call waits.
    pub(crate) fn is_shared(&self) -> bool {
        let mut taken = 0;
        self.rooms.all().any(|room| {
            taken += room.taken();
            taken > 1
        })
    }
}

impl Seat<'_> {
    fn set_waker(&self, waker: &Waker) {
        if let Some(waiting) = &mut self.rooms.part(self.room).seats[self.number] {
            waiting.waker.clone_from(waker);
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut inside = self.rooms.part(self.room);
        let left = inside.seats[self.number].take();
        inside.free.push(self.number);
        drop(inside);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(8);

    fn patience() -> Arc<Patience> {
        let patience = Arc::new(Patience::default());
        let ticking = Arc::clone(&patience);
        tokio::spawn(async move { ticking.tick(LIMIT).await });
        patience
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_given_up_after_the_limit_and_not_before() {
        let patience = patience();
        for pause in [0, 1, 999, 1_500, 60_000] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let started = Instant::now();
            assert_eq!(patience.limit(pin!(pending::<()>())).await, None);
            let waited = started.elapsed();
            assert!(waited >= LIMIT && waited <= LIMIT * 5 / 4, "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_within_the_limit_is_taken_and_leaves_no_trace() {
        let patience = patience();
        let calls: Vec<_> = (0..100)
            .map(|number| {
                let patience = Arc::clone(&patience);
                tokio::spawn(async move {
                    let answer = async {
                        tokio::time::sleep(Duration::from_millis(number * 79)).await;
                        number
                    };
                    patience.limit(pin!(answer)).await
                })
            })
            .collect();
        for (number, call) in (0..).zip(calls) {
            assert_eq!(call.await.unwrap(), Some(number));
        }
        // One that leaves early, and one that needs no waiting.
        let abandoned = async { patience.limit(pin!(pending::<()>())).await };
        assert!(tokio::time::timeout(LIMIT / 2, abandoned).await.is_err());
        assert_eq!(patience.limit(pin!(ready(1))).await, Some(1));
        assert!(patience.is_empty());
        // With nobody there, the clock stands still: nothing moves the paused time but this sleep.
        let before = patience.now.load(Ordering::SeqCst);
        tokio::time::sleep(LIMIT * 100).await;
        assert!(patience.now.load(Ordering::SeqCst) - before <= 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_moves_to_another_task_is_woken_there() {
        let patience = patience();
        let mut call = Box::pin(async move { patience.limit(pin!(pending::<()>())).await });
        assert!(tokio::time::timeout(LIMIT / 2, &mut call).await.is_err());
        assert_eq!(tokio::spawn(call).await.unwrap(), None);
    }
}
