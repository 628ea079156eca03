use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use larder_core::{
    Bytes, Capabilities, Error, ErrorKind, Result, SetOptions, SetOutcome, Store, StoreContext,
    async_trait,
    chrono::{DateTime, Utc},
};
use tokio::task::yield_now;

use crate::shelf::{Contents, Twist};
use crate::tamper::{At, Tamper};

fn is_closed(error: &Error) -> bool {
    error.kind() == ErrorKind::Closed
}

/// A child closes the connection that it shares with its parent.
#[derive(Debug)]
pub(crate) struct ChildClosesTheStore;

#[async_trait]
impl Tamper for ChildClosesTheStore {
    async fn close(&self, at: &At) -> Result<()> {
        at.root.close().await
    }
}

/// A child has an open state of its own, and nothing above it.
#[derive(Debug)]
pub(crate) struct ChildrenStayOpen;

impl Twist for ChildrenStayOpen {
    fn child_context(&self, parent: &StoreContext) -> StoreContext {
        StoreContext::new("shelf", parent.capabilities())
    }
}

/// All handles have one open state.
#[derive(Debug)]
pub(crate) struct ChildrenShareTheState;

impl Twist for ChildrenShareTheState {
    fn child_context(&self, parent: &StoreContext) -> StoreContext {
        parent.clone()
    }
}

#[derive(Debug, Default)]
pub(crate) struct SecondCloseFails(AtomicBool);

#[async_trait]
impl Tamper for SecondCloseFails {
    async fn close(&self, at: &At) -> Result<()> {
        if at.inner.namespace().is_root() && self.0.swap(true, SeqCst) {
            return Err(Error::from(ErrorKind::Closed).with_operation("close"));
        }
        at.inner.close().await
    }
}

/// What is closed has no keys.
#[derive(Debug)]
pub(crate) struct NothingExistsAfterClose;

#[async_trait]
impl Tamper for NothingExistsAfterClose {
    async fn exists(&self, at: &At, key: &str) -> Result<bool> {
        match at.inner.exists(key).await {
            Err(error) if is_closed(&error) => Ok(false),
            other => other,
        }
    }
}

/// There is nothing to flush any more.
#[derive(Debug)]
pub(crate) struct FlushesAfterClose;

#[async_trait]
impl Tamper for FlushesAfterClose {
    async fn flush(&self, at: &At) -> Result<()> {
        match at.inner.flush().await {
            Err(error) if is_closed(&error) => Ok(()),
            other => other,
        }
    }
}

#[derive(Debug)]
pub(crate) struct ClosedIsUnavailable;

#[async_trait]
impl Tamper for ClosedIsUnavailable {
    async fn delete_all(&self, at: &At) -> Result<()> {
        at.inner.delete_all().await.map_err(|error| {
            if !is_closed(&error) {
                return error;
            }
            Error::new(ErrorKind::Unavailable, "not connected").with_operation("delete_all")
        })
    }
}

/// The way to the disk is taken from the calls that are on it.
#[derive(Debug)]
pub(crate) struct CloseBreaksCalls;

#[async_trait]
impl Tamper for CloseBreaksCalls {
    async fn set_opts(
        &self,
        at: &At,
        key: &str,
        value: Bytes,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        at.inner.ping().await?;
        yield_now().await;
        at.inner.set_opts(key, value, options).await.map_err(|error| {
            if !is_closed(&error) {
                return error;
            }
            let error = Error::new(ErrorKind::Internal, "the connection went away");
            error.with_operation("set").with_key(key)
        })
    }
}

/// The lock on the data is given back a little after `close` has answered: once somebody has found
/// it held.
#[derive(Debug)]
pub(crate) struct StaysLocked;

impl Twist for StaysLocked {
    fn open(&self, contents: &mut Contents, _: DateTime<Utc>) -> Result<()> {
        if std::mem::take(&mut contents.held) {
            return Err(Error::new(ErrorKind::Locked, "another store has it open"));
        }
        Ok(())
    }

    fn closed(&self, contents: &mut Contents) {
        contents.held = true;
    }
}

/// What is closed can do nothing, and says so.
#[derive(Debug, Default)]
pub(crate) struct ClosedDeclaresNothing(AtomicBool);

#[async_trait]
impl Tamper for ClosedDeclaresNothing {
    fn capabilities(&self, at: &At) -> Capabilities {
        let declared = at.inner.capabilities();
        if self.0.load(SeqCst) { declared.with_list(false) } else { declared }
    }

    async fn close(&self, at: &At) -> Result<()> {
        self.0.store(true, SeqCst);
        at.inner.close().await
    }
}

/// A close that finds another one under way fails.
#[derive(Debug, Default)]
pub(crate) struct OneCloserAtATime(AtomicBool);

#[async_trait]
impl Tamper for OneCloserAtATime {
    async fn close(&self, at: &At) -> Result<()> {
        if self.0.swap(true, SeqCst) {
            return Err(Error::new(ErrorKind::Locked, "already closing").with_operation("close"));
        }
        yield_now().await;
        let closed = at.inner.close().await;
        self.0.store(false, SeqCst);
        closed
    }
}
