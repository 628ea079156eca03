use std::sync::OnceLock;

use larder_core::{Error, ErrorKind};

/// Whether the store still works, and why not; once it does not, it never does again.
#[derive(Debug, Default)]
pub(crate) struct Health(OnceLock<Ailment>);

#[derive(Debug)]
struct Ailment {
    error: Error,
    /// Whether sled can still be dropped without hanging.
    can_be_dropped: bool,
}

impl Health {
    /// The error with which every call is refused, if the store does no more work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.0.get().map_or(Ok(()), |ailment| Err(ailment.error.clone()))
    }

    /// Tells whether sled can be dropped without hanging.
    pub(crate) fn can_be_dropped(&self) -> bool {
        self.0.get().is_none_or(|ailment| ailment.can_be_dropped)
    }

    /// sled panicked: its files, or its own state, are not what it expects.
    #[cold]
    pub(crate) fn panicked(&self) -> Error {
        let text = "sled panicked, its files may be damaged; the store does no more work";
        self.ail(Error::new(ErrorKind::Corrupt, text), true)
    }

    /// A flush neither ended nor failed for a long time.
    #[cold]
    pub(crate) fn flush_stuck(&self) -> Error {
        let text = "sled stopped writing to disk; the store does no more work";
        self.ail(Error::new(ErrorKind::Unavailable, text), false)
    }

    /// A write failed, and sled forgot to give back its place in the log: every flush from now on,
    /// and dropping the database flushes, would wait for it.
    #[cold]
    pub(crate) fn write_lost(&self, kind: ErrorKind) {
        let text =
            "a write failed in a way that sled cannot go on from; the store does no more work";
        self.ail(Error::new(kind, text), false);
    }

    fn ail(&self, error: Error, can_be_dropped: bool) -> Error {
        self.0.get_or_init(|| Ailment { error, can_be_dropped }).error.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ailment_stays() {
        let health = Health::default();
        assert!(health.check().is_ok() && health.can_be_dropped());
        assert_eq!(health.panicked().kind(), ErrorKind::Corrupt);
        health.write_lost(ErrorKind::StorageFull);
        assert_eq!(health.flush_stuck().kind(), ErrorKind::Corrupt);
        assert_eq!(health.check().unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(health.can_be_dropped());
    }
}
