use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{ErrorKind, Result};

/// The open or closed state of a store's handles, and the calls that are in progress (`S7`).
///
/// A backend keeps one per store and gives each namespaced child its own with
/// [`child`](Self::child): closing a parent closes its children, never the other way round. Clones
/// share their state.
///
/// ```
/// use larder_core::{ErrorKind, Lifecycle};
/// let root = Lifecycle::new();
/// let child = root.child();
/// let call = child.enter()?;
/// assert!(root.close());
/// assert_eq!(child.enter().unwrap_err().kind(), ErrorKind::Closed);
/// drop(call); // `root.idle().await` would have waited for it
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Lifecycle(Arc<Node>);

#[derive(Debug, Default)]
struct Node {
    closed: AtomicBool,
    calls: AtomicUsize,
    waiting: Mutex<Vec<Waker>>,
    parent: Option<Lifecycle>,
}

impl Lifecycle {
    /// The state of a new, open store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of a child's handles.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(Node { parent: Some(self.clone()), ..Node::default() }))
    }

    /// Tells whether this is the state of the store itself and not of a namespaced child.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.parent.is_none()
    }

    /// Tells whether this handle, or one above it, was closed.
    #[must_use]
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(SeqCst) || self.0.parent.as_ref().is_some_and(Self::is_closed_above)
    }

    fn is_closed_above(&self) -> bool {
        self.chain().any(|node| node.closed.load(SeqCst))
    }

    /// Refuses a call on a closed handle.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`].
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.is_closed() { Err(ErrorKind::Closed.into()) } else { Ok(()) }
    }

    /// Begins a call that `close` has to wait for; it ends when the guard is dropped.
    ///
    /// Work that outlives its caller's future (on a blocking thread, say) takes the guard along.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`].
    pub fn enter(&self) -> Result<InProgress> {
        for node in self.chain() {
            node.calls.fetch_add(1, SeqCst);
        }
        // Counted before the check: a close that this check does not see will see the count.
        let guard = InProgress(self.clone());
        self.check()?;
        Ok(guard)
    }

    /// Closes the handles that share this state and those below; true for the call that did it.
    pub fn close(&self) -> bool {
        !self.0.closed.swap(true, SeqCst)
    }

    /// Opens the handles again, after a reconnection.
    pub fn reopen(&self) {
        self.0.closed.store(false, SeqCst);
    }

    /// Completes when no call is in progress on these handles or on those below.
    pub fn idle(&self) -> Idle {
        Idle(self.clone())
    }

    fn chain(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(Some(&*self.0), |node| node.parent.as_ref().map(|up| &*up.0))
    }
}

/// A call in progress: see [`Lifecycle::enter`].
#[derive(Debug)]
#[must_use = "the call is in progress as long as this lives"]
pub struct InProgress(Lifecycle);

impl Drop for InProgress {
    fn drop(&mut self) {
        for node in self.0.chain() {
            if node.calls.fetch_sub(1, SeqCst) == 1 {
                let wakers = std::mem::take(
                    &mut *node.waiting.lock().unwrap_or_else(PoisonError::into_inner),
                );
                wakers.into_iter().for_each(Waker::wake);
            }
        }
    }
}

/// The future of [`Lifecycle::idle`].
#[derive(Debug)]
#[must_use = "a future does nothing unless awaited"]
pub struct Idle(Lifecycle);

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let node = &*self.0.0;
        if node.calls.load(SeqCst) == 0 {
            return Poll::Ready(());
        }
        let mut waiting = node.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        drop(waiting);
        // The last call may have ended between the first look and the registration.
        if node.calls.load(SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_a_child_leaves_its_parent_and_siblings_open() {
        let root = Lifecycle::new();
        let (child, sibling) = (root.child(), root.child());
        let grandchild = child.child();
        assert!(child.close());
        assert!(!child.close());
        assert!(child.is_closed() && grandchild.is_closed());
        assert!(!root.is_closed() && !sibling.is_closed());
    }

    #[tokio::test]
    async fn idle_waits_for_calls_below() {
        let root = Lifecycle::new();
        let call = root.child().child().enter().unwrap();
        root.close();
        let waiter = tokio::spawn(root.idle());
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(call);
        waiter.await.unwrap();
        assert!(root.enter().is_err());
        root.idle().await;
    }

    #[test]
    fn what_was_closed_opens_again_with_all_that_is_below() {
        let root = Lifecycle::new();
        let child = root.child();
        root.close();
        root.reopen();
        assert!(!root.is_closed() && root.enter().is_ok() && child.enter().is_ok());
        assert!(root.close());
        assert!(child.enter().is_err());
        child.close();
        root.reopen();
        assert!(root.enter().is_ok() && child.enter().is_err());
    }
}
