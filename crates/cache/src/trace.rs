//! Events and spans, where the feature is on; nothing otherwise.

/// An event at a level, never with keys or values.
macro_rules! event {
    ($level:ident, $($field:ident = $value:expr,)* $message:literal) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "larder_cache", $($field = $value,)* $message);
    };
}

pub(crate) use event;

/// The future within the caller's span.
#[cfg(feature = "tracing")]
pub(crate) fn in_span<F: Future>(future: F) -> tracing::instrument::Instrumented<F> {
    use tracing::Instrument;
    future.in_current_span()
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn in_span<F: Future>(future: F) -> F {
    future
}
