//! Web sessions on whichever backend the URL names.
//!
//! ```text
//! cargo run -p larder --example sessions
//! cargo run -p larder --example sessions -- file:session-data
//! cargo run -p larder --example sessions --features redis -- redis://localhost/0
//! ```

use std::sync::Arc;
use std::time::Duration;

use larder::StoreRegistry;
use larder::prelude::*;

/// How long a session lives after its last visit.
const SESSION: Duration = Duration::from_secs(14 * 24 * 3600);

/// What an application writes is the same for every backend.
struct Sessions {
    store: Arc<dyn NamespacedStore>,
}

impl Sessions {
    /// Begins a session, or refuses where the identifier is in use.
    async fn log_in(&self, id: &str, user: &str) -> larder::Result<bool> {
        Ok(self.store.set(id, user).ttl(SESSION).if_absent().await?.is_applied())
    }

    /// The user of a session, which lives on from this visit.
    async fn visit(&self, id: &str) -> larder::Result<Option<String>> {
        let user = self.store.get(id).renew_for(SESSION).await?;
        Ok(user.map(|user| String::from_utf8_lossy(&user).into_owned()))
    }

    async fn log_out(&self, id: &str) -> larder::Result<bool> {
        self.store.delete(id).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    // Each name becomes a namespace of the one store, so that nothing meets.
    let registry = StoreRegistry::below(larder::open(&url).await?);
    let sessions = Sessions { store: registry.get("sessions").await? };
    let counters = registry.get("counters").await?;

    let id = "8d1e-anna";
    println!("logged in: {}", sessions.log_in(id, "anna").await?);
    println!("the same identifier again: {}", sessions.log_in(id, "eve").await?);
    println!("who visits: {:?}", sessions.visit(id).await?);
    println!("visits so far: {}", counters.increment("visits", 1).await?);
    println!("lives for: {:?}", sessions.store.expires_in(id).await?.as_duration());
    println!("logged out: {}", sessions.log_out(id).await?);
    println!("who visits now: {:?}", sessions.visit(id).await?);

    registry.close_all().await?;
    Ok(())
}
