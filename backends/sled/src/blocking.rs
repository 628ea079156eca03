//! The one way to a thread that may block.

use larder_core::Result;
use tokio::runtime::Handle;

use crate::error::SledError;

/// Runs `work` on a thread of the runtime that is meant for blocking.
///
/// # Cancel safety
/// Dropped, it lets work that has begun run to its end.
pub(crate) async fn hop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let runtime = Handle::try_current().map_err(|_| SledError::NoRuntime)?;
    match runtime.spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(SledError::Panicked.into()),
        // Cancelled before it began: the runtime shuts down.
        Err(_) => Err(SledError::NoRuntime.into()),
    }
}
