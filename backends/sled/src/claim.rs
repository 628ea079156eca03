//! Which paths this process has open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::SledError;

/// How long an opener waits for a store of this process that is about to let go of the path.
const PATIENCE: Duration = Duration::from_secs(30);

/// True for a path whose store is closing.
static OPEN: Mutex<BTreeMap<PathBuf, bool>> = Mutex::new(BTreeMap::new());
static RELEASED: Condvar = Condvar::new();

/// The right to have a path open, the only one in this process.
#[derive(Debug)]
pub(crate) struct Claim(PathBuf);

impl Claim {
    /// Claims a path; waits where the last owner was dropped and has yet to finish.
    pub(crate) fn take(path: &Path) -> Result<Self, SledError> {
        let (mut open, _) = RELEASED
            .wait_timeout_while(lock(), PATIENCE, |open| open.get(path) == Some(&true))
            .unwrap_or_else(PoisonError::into_inner);
        if open.contains_key(path) {
            return Err(SledError::Locked);
        }
        open.insert(path.to_owned(), false);
        Ok(Self(path.to_owned()))
    }

    /// Says that the path will be let go of as soon as the work in hand is done.
    pub(crate) fn closing(&self) {
        if let Some(closing) = lock().get_mut(&self.0) {
            *closing = true;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock().remove(&self.0);
        RELEASED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, BTreeMap<PathBuf, bool>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_owner_at_a_time() {
        let path = Path::new("/claim/one");
        let claim = Claim::take(path).unwrap();
        assert!(matches!(Claim::take(path), Err(SledError::Locked)));
        assert!(Claim::take(Path::new("/claim/two")).is_ok());
        drop(claim);
        assert!(Claim::take(path).is_ok());
    }

    #[test]
    fn an_opener_waits_for_an_owner_that_is_closing() {
        let path = Path::new("/claim/three");
        let claim = Claim::take(path).unwrap();
        claim.closing();
        let opener = std::thread::spawn(move || Claim::take(path).is_ok());
        drop(claim);
        assert!(opener.join().unwrap());
    }
}
