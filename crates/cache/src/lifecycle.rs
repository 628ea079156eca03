//! Connecting, closing, and doing both around a piece of work (V5).

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use larder_core::{Namespace, NamespacedStore};
use tokio::task::unconstrained;

use crate::handle::Source;
use crate::slot::Range;
use crate::space::Inner;
use crate::{CacheError, CacheResult, CacheSpace, Distributed};

impl CacheSpace {
    /// What [`session`](Self::session) does when it begins, unless the builder says otherwise.
    pub const ENTER_RECONNECT: bool = true;
    /// What [`session`](Self::session) does when it ends, unless the builder says otherwise.
    pub const EXIT_CLOSE: bool = true;

    /// Opens the space, and its store where the space owns it; does nothing when both are open.
    ///
    /// # Errors
    /// What the store says to being opened.
    pub async fn connect(&self) -> CacheResult<()> {
        let _turn = self.0.reopening.lock().await;
        self.0.connect().await
    }

    /// Closes the space: loads are cancelled and those who wait get `ShutDown`, pending values are
    /// given up, locks are lost, and every later call is `Closed`. Calls in progress are waited for,
    /// and what was acknowledged is flushed.
    ///
    /// A store that the space owns is closed; one that was handed in stays open. A second call does
    /// nothing.
    ///
    /// # Errors
    /// What the store says to being flushed or closed; the space is closed all the same.
    pub async fn close(&self) -> CacheResult<()> {
        let _turn = self.0.reopening.lock().await;
        self.0.close().await
    }

    /// Closes the space and opens it again.
    ///
    /// # Errors
    /// What the store says to being opened; it does not matter what it said to being closed.
    pub async fn reconnect(&self) -> CacheResult<()> {
        let _turn = self.0.reopening.lock().await;
        // A connection that is broken already may not close in good order.
        let _ = self.0.close().await;
        self.0.connect().await
    }

    /// Does a piece of work between a reconnection and a closing, each as the builder says
    /// ([`reconnect_on_enter`](crate::CacheBuilder::reconnect_on_enter),
    /// [`close_on_exit`](crate::CacheBuilder::close_on_exit)), else as
    /// [`ENTER_RECONNECT`](Self::ENTER_RECONNECT) and [`EXIT_CLOSE`](Self::EXIT_CLOSE) say.
    ///
    /// Without reconnection it connects, which does nothing where the space is open.
    ///
    /// # Errors
    /// What the store says to being opened, and it closes as it would have; or to being closed.
    ///
    /// # Cancel safety
    /// Dropped, or ended by a panic of the work, it closes as it would have. Whoever opens the space
    /// after that waits for the end of the closing.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_cache::CacheSpace;
    /// # use larder_memory::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder_cache::CacheError> {
    /// let space = CacheSpace::new(Arc::new(MemoryStore::new()));
    /// let sum = space
    ///     .session(async |space| space.cache::<u32>().get_or_set("sum", 3_u32).await)
    ///     .await??;
    /// assert_eq!(sum, 3);
    /// assert!(space.cache::<u32>().get("sum").await.is_err()); // closed
    /// # Ok(())
    /// # }
    /// ```
    pub async fn session<R>(&self, work: impl AsyncFnOnce(&Self) -> R) -> CacheResult<R> {
        let config = &self.0.config;
        let exit = Exit(config.exit_close.unwrap_or(Self::EXIT_CLOSE).then(|| self.clone()));
        let entered = if config.enter_reconnect.unwrap_or(Self::ENTER_RECONNECT) {
            self.reconnect().await
        } else {
            self.connect().await
        };
        if let Err(error) = entered {
            // What is not open may not close in good order.
            let _ = exit.close().await;
            return Err(error);
        }
        let outcome = {
            let mut work = pin!(work(self));
            std::future::poll_fn(|context| {
                // After a panic the future is not polled again.
                match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
                    Err(panic) => Poll::Ready(Err(panic)),
                }
            })
            .await
        };
        let closed = exit.close().await;
        match outcome {
            Ok(outcome) => closed.map(|()| outcome),
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Closes the space at the end of a session, or in the background when the session is dropped.
struct Exit(Option<CacheSpace>);

impl Exit {
    async fn close(mut self) -> CacheResult<()> {
        let Some(space) = self.0.clone() else { return Ok(()) };
        let closed = space.close().await;
        self.0 = None;
        closed
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        let Some(space) = self.0.take() else { return };
        // Asked for at once: whoever opens the space from now on comes after the closing.
        let mut turn = Box::pin(unconstrained(Arc::clone(&space.0.reopening).lock_owned()));
        let asked = turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        // Without a runtime there is nobody to wait for calls in progress.
        space.0.shut();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _turn = match asked {
                    Poll::Ready(turn) => turn,
                    Poll::Pending => turn.await,
                };
                space.0.close().await
            });
        }
    }
}

/// A space that is being opened. Dropped before it is ready, as by an error, it is shut again.
struct Opening<'a>(&'a Arc<Inner>);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.shut();
    }
}

impl Inner {
    async fn connect(self: &Arc<Self>) -> CacheResult<()> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner).is_some();
        match &self.source {
            Source::Borrowed(Err(error)) => return Err(error.clone().into()),
            Source::Owned(open) if !opened => {
                let store: Arc<dyn NamespacedStore> = open().await?;
                *self.opened.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
                self.needs_index.store(true, SeqCst);
                self.generation.fetch_add(1, SeqCst);
            }
            Source::Borrowed(Ok(_)) | Source::Owned(_) => {}
        }
        let opening = Opening(self);
        // What is removed to keep to the capacity is removed by calls like any other.
        self.lifecycle.reopen();
        if self.needs_index.load(SeqCst) {
            self.check_policy()?;
            self.rebuild().await?;
            self.needs_index.store(false, SeqCst);
        }
        std::mem::forget(opening);
        Ok(())
    }

    fn check_policy(&self) -> CacheResult<()> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(store) = &*opened else { return Err(CacheError::closed()) };
        if self.coordination.is_some() {
            Distributed::check_store(&store.capabilities())?;
        }
        let settings = &self.policies.settings;
        settings.policy.check_store(&store.capabilities(), settings)
    }

    /// Refuses later calls, and ends what waits.
    fn shut(self: &Arc<Self>) {
        self.lifecycle.close();
        self.generation.fetch_add(1, SeqCst);
        self.shut.send_modify(|closings| *closings += 1);
        let everything = Range { scope: Namespace::root(), prefix: None };
        for slot in self.table.matching(&everything) {
            slot.take_user_lock_away();
            slot.shut();
        }
    }

    async fn close(self: &Arc<Self>) -> CacheResult<()> {
        self.shut();
        if let Some(coordination) = &self.coordination {
            // Others need not wait for leases that are lost here.
            for held in coordination.held() {
                held.release().await;
            }
        }
        self.lifecycle.idle().await;
        let owned = matches!(self.source, Source::Owned(_));
        let store = {
            let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
            if owned { opened.take() } else { opened.clone() }
        };
        match store {
            Some(store) if owned => Ok(store.close().await?),
            // Borrowed and closed by its owner: nothing is left to be flushed.
            Some(store) => match store.flush().await {
                Err(error) if error.kind() == larder_core::ErrorKind::Closed => Ok(()),
                flushed => Ok(flushed?),
            },
            None => Ok(()),
        }
    }
}
