use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use tokio::task::yield_now;

use crate::patience::Patience;

/// The calls on one connection: how long they wait, and how their commands get together.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) patience: Patience,
    /// Set by a call before it sends; cleared when what was sent is on its way.
    sent: AtomicBool,
}

impl Calls {
    /// What the future gives, which sends and waits for an answer, or `None` when it did not within
    /// the limit.
    pub(crate) async fn wait<F: Future>(&self, future: Pin<&mut F>) -> Option<F::Output> {
        // Most find it set and need not take the cache line from the other threads.
        if !self.sent.load(Ordering::Relaxed) {
            self.sent.store(true, Ordering::Relaxed);
        }
        self.patience.limit(future).await
    }

    /// Runs the future that moves the connection's bytes, in a task of its own.
    ///
    /// A runtime of several threads runs a task right after the one that woke it, so each command
    /// would have a write of its own. While several calls wait, those that can send do so first:
    /// one write carries their commands. A call by itself is not held up, nor is what arrives.
    pub(crate) async fn carry(&self, mover: impl Future<Output = ()>) {
        let mut mover = pin!(mover);
        while poll_fn(|context| Poll::Ready(mover.as_mut().poll(context))).await.is_pending() {
            // A flag that is set or cleared in the wrong moment costs a write or a turn, no wake.
            self.sent.store(false, Ordering::Relaxed);
            woken().await;
            if self.sent.load(Ordering::Relaxed) && self.patience.is_shared() {
                yield_now().await;
            }
        }
    }
}

/// Waits for the next wake of the task, by whatever it last polled.
async fn woken() {
    let mut asleep = true;
    poll_fn(|_| if std::mem::take(&mut asleep) { Poll::Pending } else { Poll::Ready(()) }).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    const CALLERS: usize = 16;
    const EACH: usize = 50;

    /// How many turns it takes to answer all calls of so many callers.
    async fn turns(callers: usize) -> usize {
        let calls = Arc::new(Calls::default());
        let (sender, mut receiver) = mpsc::channel::<oneshot::Sender<()>>(64);
        let (carried, turns) = (Arc::clone(&calls), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&turns);
        let mover = async move {
            let mut sent = Vec::new();
            while receiver.recv_many(&mut sent, 64).await > 0 {
                counted.fetch_add(1, Ordering::Relaxed);
                sent.drain(..).for_each(|answer| answer.send(()).unwrap());
            }
        };
        let mover = tokio::spawn(async move { carried.carry(mover).await });
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                let (calls, sender) = (Arc::clone(&calls), sender.clone());
                tokio::spawn(async move {
                    for _ in 0..EACH {
                        let answer = async {
                            let (answer, answered) = oneshot::channel();
                            sender.send(answer).await.unwrap();
                            answered.await.unwrap();
                        };
                        calls.wait(pin!(answer)).await.unwrap();
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        drop(sender);
        mover.await.unwrap();
        turns.load(Ordering::Relaxed)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn commands_of_several_callers_share_turns() {
        let turns = turns(CALLERS).await;
        assert!(turns <= CALLERS * EACH / 4, "{turns} turns for {} commands", CALLERS * EACH);
    }

    #[tokio::test]
    async fn a_caller_by_itself_has_a_turn_for_each_command() {
        assert_eq!(turns(1).await, EACH);
    }
}
