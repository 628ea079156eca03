use crate::{Capabilities, Error, InProgress, Lifecycle, Result};

/// What every call of a backend begins with: the open state, the limits, and the words for errors.
///
/// A backend keeps one in each handle, begins each method with [`begin`](Self::begin) or one of its
/// sisters, and passes driver errors through [`error`](Self::error), so that key limits, the closed
/// state and error context are the same everywhere.
#[derive(Debug, Clone)]
pub struct StoreContext {
    backend: &'static str,
    capabilities: Capabilities,
    lifecycle: Lifecycle,
}

impl StoreContext {
    /// The context of a new store; `backend` is its name in errors.
    #[must_use]
    pub fn new(backend: &'static str, capabilities: Capabilities) -> Self {
        let capabilities = capabilities.of_backend(backend);
        Self { backend, capabilities, lifecycle: Lifecycle::new() }
    }

    /// The context of a namespaced child: the same, with an open state of its own.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { lifecycle: self.lifecycle.child(), ..self.clone() }
    }

    /// The same context with other capabilities, such as a shorter key limit below a prefix.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities.of_backend(self.backend);
        self
    }

    /// What the store declares.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The open state.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Checks the open state and the key, and counts the call until the guard is dropped.
    ///
    /// # Errors
    /// `Closed`; `InvalidKey`.
    pub fn begin(&self, operation: &'static str, key: &str) -> Result<InProgress> {
        let call = self.begin_keyless(operation)?;
        self.capabilities.check_key(key).map_err(|error| self.error(operation, error))?;
        Ok(call)
    }

    /// As [`begin`](Self::begin) for a bulk call: every key is checked before any is touched (`S8`).
    ///
    /// # Errors
    /// `Closed`; `InvalidKey`.
    pub fn begin_bulk<'k>(
        &self,
        operation: &'static str,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<InProgress> {
        let call = self.begin_keyless(operation)?;
        for key in keys {
            self.capabilities.check_key(key).map_err(|error| self.error(operation, error))?;
        }
        Ok(call)
    }

    /// As [`begin`](Self::begin) for a call without a key.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin_keyless(&self, operation: &'static str) -> Result<InProgress> {
        self.lifecycle.enter().map_err(|error| self.error(operation, error))
    }

    /// Checks the open state and the key without counting the call: for a backend whose calls end
    /// before they first yield.
    ///
    /// # Errors
    /// `Closed`; `InvalidKey`.
    #[inline]
    pub fn check(&self, operation: &'static str, key: &str) -> Result<()> {
        if self.lifecycle.is_closed() {
            return self.lifecycle.check().map_err(|error| self.key_error(operation, key, error));
        }
        self.capabilities.check_key(key).map_err(|error| self.error(operation, error))
    }

    /// Names the operation and the backend in an error.
    #[cold]
    pub fn error(&self, operation: &'static str, error: impl Into<Error>) -> Error {
        error.into().with_operation(operation).with_backend(self.backend)
    }

    /// Names the operation, the key and the backend in an error.
    #[cold]
    pub fn key_error(&self, operation: &'static str, key: &str, error: impl Into<Error>) -> Error {
        self.error(operation, error).with_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_call_that_is_not_counted_is_refused_as_any_other() {
        let context = StoreContext::new("map", Capabilities::new().with_max_key_len(3));
        assert!(context.check("get", "abc").is_ok());
        let error = context.check("get", "abcd").unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidKey, Some("abcd")));
        context.lifecycle().close();
        for key in ["abc", "abcd"] {
            let error = context.check("get", key).unwrap_err();
            assert_eq!((error.kind(), error.key()), (ErrorKind::Closed, Some(key)));
            assert_eq!((error.operation(), error.backend()), (Some("get"), Some("map")));
        }
    }
}
