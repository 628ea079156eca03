use larder_core::{ExpiresIn, StoreExt};
use tokio::time::Instant;

use crate::trial::Trial;
use crate::verdict::{Verdict, expect_expires_in, expect_value};

pub(super) async fn dies_at_its_deadline(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick() * 2;
    let since = Instant::now();
    store.set("k", "v").ttl(ttl).await?;
    t.expect_life(&store, "k", b"v", ttl, since).await
}

pub(super) async fn an_overwrite_clears_the_expiry(t: &Trial) -> Verdict {
    let store = t.store();
    let ttl = t.tick();
    store.set("k", "old").ttl(ttl).await?;
    store.set("k", "new").await?;
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    t.outlive(ttl).await;
    expect_value(&store, "k", b"new").await
}
