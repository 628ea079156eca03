use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_core::Result;

use crate::connection::RedisConnection;
use crate::given_up::GivenUp;

/// Connections that are in use no more, and on which a write was given up afterwards: `close` has to
/// wait for that one too.
#[derive(Default)]
pub(crate) struct LeftBehind(Mutex<Vec<Left>>);

#[derive(Clone)]
struct Left {
    connection: RedisConnection,
    given_up: Arc<GivenUp>,
}

impl LeftBehind {
    pub(crate) fn add(&self, connection: RedisConnection, given_up: Arc<GivenUp>) {
        self.all().push(Left { connection, given_up });
    }

    /// Waits for the writes, and ends the connections.
    ///
    /// # Cancel safety
    /// The next one waits for what is left.
    pub(crate) async fn drain(&self, limit: Duration) -> Result<()> {
        while let Some(mut left) = self.first() {
            left.given_up.drain(&mut left.connection, limit).await?;
            self.all().retain(|other| !Arc::ptr_eq(&other.given_up, &left.given_up));
        }
        Ok(())
    }

    fn first(&self) -> Option<Left> {
        self.all().first().cloned()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Left>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
