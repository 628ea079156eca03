use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use larder_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

/// From how many bytes on a command is made apart. The driver copies them twice before it sends
/// them: for several mebibytes that is longer than a call may keep a worker (`S6`).
pub(crate) const LARGE: usize = 1 << 20;

/// Begins a call on a thread meant for blocking, as far as it gets without waiting, and goes on with
/// it here: what waits for an answer takes up no thread.
///
/// # Cancel safety
/// As that of `call`; dropped at the beginning, the call may still be sent.
pub(crate) async fn begin_apart<T: Send + 'static>(
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let mut call: Pin<Box<dyn Future<Output = Result<T>> + Send>> = Box::pin(call);
    let Ok(runtime) = Handle::try_current() else {
        return call.await;
    };
    let begun = runtime.spawn_blocking(move || {
        // It is polled again at once with the waker that counts.
        let first = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        (call, first)
    });
    match begun.await {
        Ok((_, Poll::Ready(outcome))) => outcome,
        Ok((call, Poll::Pending)) => call.await,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the runtime shuts down")),
        },
    }
}
