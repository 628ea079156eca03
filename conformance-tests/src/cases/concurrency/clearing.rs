use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder_core::{SetItem, Store, StoreExt};

use super::super::listing::all_keys;
use super::race;
use crate::trial::{LONG, Trial};
use crate::verdict::{Stop, Verdict, ensure, expect_missing, expect_value, joined, show_found};

pub(in crate::cases) async fn clearing_during_sets_fails_neither(t: &Trial) -> Verdict {
    let store = t.store();
    for round in 0..5 {
        t.part();
        let staying: Vec<String> = (0..30).map(|index| format!("there {index}")).collect();
        for key in &staying {
            store.set(key, "throughout").ttl(LONG).await?;
        }
        race(5, |caller| {
            let store = t.store();
            async move {
                if caller == 0 {
                    return store.delete_all().await;
                }
                for index in 0..15 {
                    let key = format!("{caller} {index}");
                    store.set(&key, key.clone()).await?;
                    store.set("hot", format!("by {caller}")).await?;
                }
                Ok(())
            }
        })
        .await?;
        for key in &staying {
            t.collect_about(&[key, "delete_all"], expect_missing(&store, key).await)?;
        }
        for caller in 1..5 {
            for index in 0..15 {
                let key = format!("{caller} {index}");
                let found = store.get(&key).await?;
                let whole = found.as_deref().is_none_or(|found| found == key.as_bytes());
                ensure!(
                    whole,
                    "in round {round}, get({key:?}) gave {}",
                    show_found(found.as_deref())
                );
                // There or gone, by every method.
                let exists = store.exists(&key).await?;
                ensure!(
                    exists == found.is_some(),
                    "get({key:?}) gave {}, yet exists gave {exists}",
                    show_found(found.as_deref())
                );
            }
        }
        store.delete_all().await?;
    }
    Ok(())
}

pub(in crate::cases) async fn clearing_spares_what_comes_after(t: &Trial) -> Verdict {
    let store = t.store();
    for _ in 0..10 {
        t.part();
        for index in 0..20 {
            store.set(&format!("k{index}"), "old").await?;
        }
        store.delete_all().await?;
        for index in 0..20 {
            store.set(&format!("k{index}"), "new").await?;
        }
        // Whatever the clearing still does must not reach these.
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            for index in 0..20 {
                let key = format!("k{index}");
                t.collect_about(&[&key, "delete_all"], expect_value(&store, &key, b"new").await)?;
            }
        }
    }
    Ok(())
}

pub(in crate::cases) async fn two_may_clear_at_once(t: &Trial) -> Verdict {
    let tree = t.tree()?;
    let store = t.store();
    for index in 0..60 {
        store.set(&format!("k{index}"), "v").await?;
        tree.with_path(&["a", &index.to_string()])?.set("k", "v").await?;
    }
    race(6, |caller| {
        let tree = Arc::clone(&tree);
        async move {
            match caller % 3 {
                0 => tree.delete_all().await,
                1 => tree.with_path(&["a"])?.delete_all().await,
                _ => match tree.delete_expired().await {
                    Err(error) if error.kind() == larder_core::ErrorKind::Unsupported => Ok(()),
                    removed => removed.map(drop),
                },
            }
        }
    })
    .await?;
    for index in 0..60 {
        expect_missing(&tree, &format!("k{index}")).await?;
        expect_missing(&tree.with_path(&["a", &index.to_string()])?, "k").await?;
    }
    Ok(())
}

pub(in crate::cases) async fn a_listing_under_way_disturbs_nobody(t: &Trial) -> Verdict {
    let store = t.store();
    let staying: Vec<String> = (0..60).map(|index| format!("there {index}")).collect();
    let items = staying.iter().map(|key| SetItem::new(key, "v")).collect();
    for outcome in store.set_many(items).await? {
        outcome?;
    }
    let done = Arc::new(AtomicBool::new(false));
    let lister = tokio::spawn({
        let (store, done, staying) = (t.store(), Arc::clone(&done), staying.clone());
        async move {
            let mut pages = 1;
            while !done.load(Ordering::SeqCst) {
                let listed = all_keys(&store, "", pages % 9 + 1).await?;
                if let Some(key) = staying.iter().find(|key| !listed.contains(key)) {
                    return Err(Stop::fail(format!(
                        "a listing during other changes leaves out {key:?}, which was there \
                         throughout"
                    )));
                }
                pages += 1;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    });
    race(3, |caller| {
        let store = t.store();
        async move {
            for step in 0..40 {
                let key = format!("passing {caller} {}", step % 7);
                store.set(&key, "v").await?;
                store.set(&format!("there {}", step % 60), "again").await?;
                store.delete(&key).await?;
            }
            Ok(())
        }
    })
    .await?;
    done.store(true, Ordering::SeqCst);
    joined(lister.await)?
}
