use std::time::Duration;

use larder_core::{ExpiresIn, Expiry, GetOptions, SetItem, SetOptions, Store, StoreExt};

use super::race;
use crate::trial::{LONG, Trial};
use crate::verdict::{Verdict, ensure, expect_missing, show_value};

pub(in crate::cases) async fn a_renewal_never_undoes_a_set(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..30 {
        t.part();
        store.set("k", "old").ttl(LONG).await?;
        race(3, |caller| {
            let store = t.store();
            async move {
                match caller {
                    0 => store.set("k", "new").await.map(drop),
                    1 => store.get("k").renew_for(2 * LONG).await.map(drop),
                    _ => store.get("k").renew_for(3 * LONG).await.map(drop),
                }
            }
        })
        .await?;
        let entry = store.get_opts("k", GetOptions::default().with_expires_in(true)).await?;
        let state = entry.as_ref().map(|entry| (&entry.value[..], entry.expires_in));
        ensure!(
            state == Some((b"new", Some(ExpiresIn::Never))),
            "in round {round}, after a set of \"new\" without expiry and renewals of \"old\" at the \
             same time, there is {}",
            entry.map_or("nothing".to_owned(), |entry| format!(
                "{} with {:?}",
                show_value(&entry.value),
                entry.expires_in
            ))
        );
    }
    Ok(())
}

pub(in crate::cases) async fn a_renewal_never_undoes_a_delete(t: &Trial) -> Verdict {
    let store = t.store();
    for _ in 0..30 {
        t.part();
        store.set("k", "v").ttl(LONG).await?;
        race(4, |caller| {
            let store = t.store();
            async move {
                match caller {
                    0 => store.delete("k").await.map(drop),
                    1 => store.update_expiry("k", Expiry::After(3 * LONG)).await.map(drop),
                    2 => store.get("k").renew_for(Duration::ZERO).await.map(drop),
                    _ => store.get("k").renew_for(2 * LONG).await.map(drop),
                }
            }
        })
        .await?;
        expect_missing(&store, "k").await?;
    }
    Ok(())
}

pub(in crate::cases) async fn keeping_the_expiry_keeps_the_last_one(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..20 {
        t.part();
        store.set("k", "old").ttl(LONG).await?;
        race(3, |caller| {
            let store = t.store();
            async move {
                match caller {
                    0 => store.set("k", "eternal").await.map(drop),
                    1 => {
                        let keep = SetOptions::default().with_expiry(Expiry::Keep);
                        let item = SetItem::new("k", "kept").with_options(keep);
                        let outcomes = store.set_many(vec![item]).await?;
                        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
                    }
                    _ => store.set("k", "kept").keep_ttl().await.map(drop),
                }
            }
        })
        .await?;
        // Whichever came last: after the plain set, there was no expiry left to keep.
        let left = store.expires_in("k").await?;
        ensure!(
            left == ExpiresIn::Never,
            "in round {round}, a set that keeps the expiry brought back one that a plain set had \
             cleared: {left:?}"
        );
    }
    Ok(())
}
