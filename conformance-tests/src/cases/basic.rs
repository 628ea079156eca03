use larder_core::{ErrorKind, ExpiresIn, GetOptions, Raw, SetItem, Store, StoreExt};

use crate::trial::{LONG, Trial};
use crate::verdict::{
    Verdict, ensure, expect_expires_in, expect_kind, expect_missing, expect_value,
};

pub(super) async fn a_missing_key_reads_as_none(t: &Trial) -> Verdict {
    let store = t.store();
    expect_missing(&store, "k").await?;
    expect_missing(&store, "").await?;
    store.set("k", "v").await?;
    expect_missing(&store, "K").await?;
    expect_missing(&store, "").await
}

pub(super) async fn a_value_set_is_read(t: &Trial) -> Verdict {
    let store = t.store();
    let outcome = store.set("k", "value").await?;
    ensure!(outcome.is_applied(), "set(\"k\") without a condition gave {outcome:?}");
    expect_value(&store, "k", b"value").await?;
    ensure!(store.exists("k").await?, "exists(\"k\") gave false for a live key");
    expect_expires_in(&store, "k", ExpiresIn::Never).await?;
    expect_value(&store, "k", b"value").await
}

pub(super) async fn a_set_replaces_the_value(t: &Trial) -> Verdict {
    let store = t.store();
    for value in ["first", "a second and longer value", "3", "", "after empty"] {
        store.set("k", value).await?;
        expect_value(&store, "k", value.as_bytes()).await?;
    }
    Ok(())
}

pub(super) async fn a_delete_tells_whether_the_key_was_live(t: &Trial) -> Verdict {
    let store = t.store();
    ensure!(!store.delete("k").await?, "delete(\"k\") gave true for a key that was never set");
    store.set("k", "v").await?;
    store.set("other", "w").await?;
    ensure!(store.delete("k").await?, "delete(\"k\") gave false for a live key");
    expect_missing(&store, "k").await?;
    ensure!(!store.delete("k").await?, "delete(\"k\") gave true for a key that is deleted");
    expect_value(&store, "other", b"w").await?;
    store.set("k", "again").await?;
    expect_value(&store, "k", b"again").await
}

pub(super) async fn delete_all_empties_the_store(t: &Trial) -> Verdict {
    let store = t.store();
    store.delete_all().await?;
    let keys = ["", "a", "b", "b/c", "ü", "*"];
    for key in keys {
        store.set(key, key).await?;
    }
    store.set("dying", "v").ttl(LONG).await?;
    store.delete_all().await?;
    for key in keys.into_iter().chain(["dying"]) {
        expect_missing(&store, key).await?;
    }
    store.delete_all().await?;
    // More than a page of anything.
    let many: Vec<String> = (0..2_100).map(|index| format!("key {index}")).collect();
    for chunk in many.chunks(300) {
        let items = chunk.iter().map(|key| SetItem::new(key, "v")).collect();
        for outcome in store.set_many(items).await? {
            outcome?;
        }
    }
    store.delete_all().await?;
    for chunk in many.chunks(300) {
        let names: Vec<&str> = chunk.iter().map(String::as_str).collect();
        for (key, found) in names.iter().zip(store.get_many(&names).await?) {
            ensure!(found?.is_none(), "delete_all left {key:?}, one of {} keys", many.len());
        }
    }
    store.set("a", "again").await?;
    expect_value(&store, "a", b"again").await
}

pub(super) async fn get_tells_only_what_is_asked(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "v").await?;
    let plain = store.get_opts("k", GetOptions::default()).await?;
    let Some(plain) = plain else {
        ensure!(false, "get(\"k\") gave nothing for a live key");
        return Ok(());
    };
    ensure!(plain.version.is_none(), "get(\"k\") made a version that nobody asked for");
    let asked = GetOptions::default().with_expires_in(true);
    let left = store.get_opts("k", asked).await?.map(|entry| entry.expires_in);
    ensure!(
        left == Some(Some(ExpiresIn::Never)),
        "get(\"k\") with its remaining life asked for gave {left:?} for a key without expiry"
    );
    let missing = store.get_opts("missing", GetOptions::default().with_expires_in(true)).await?;
    ensure!(missing.is_none(), "get(\"missing\") gave {missing:?}");
    Ok(())
}

pub(super) async fn flush_and_ping_answer(t: &Trial) -> Verdict {
    let store = t.store();
    store.ping().await?;
    store.flush().await?;
    store.set("k", "v").await?;
    store.flush().await?;
    store.ping().await?;
    expect_value(&store, "k", b"v").await
}

pub(super) async fn text_and_types_come_back(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("text", "grüß dich").await?;
    store.set("string", String::from("text")).await?;
    store.set("bytes", vec![0, 159, 146, 150]).await?;
    store.set("array", [1, 2, 3]).await?;
    expect_value(&store, "text", "grüß dich".as_bytes()).await?;
    expect_value(&store, "string", b"text").await?;
    expect_value(&store, "bytes", &[0, 159, 146, 150]).await?;
    expect_value(&store, "array", &[1, 2, 3]).await?;
    let scores = store.typed::<Vec<u32>>();
    scores.set("typed", &vec![1, 2, 300]).ttl(LONG).await?;
    let found = scores.get("typed").await?;
    ensure!(found == Some(vec![1, 2, 300]), "a typed value came back as {found:?}");
    // MessagePack, and nothing around it.
    expect_value(&store, "typed", &[0x93, 1, 2, 0xcd, 1, 44]).await?;
    let names = store.typed::<String>().with_codec(Raw);
    names.set("name", &"Anna".to_owned()).await?;
    expect_value(&store, "name", b"Anna").await?;
    expect_kind("decoding text as a list", scores.get("name").await, ErrorKind::Corrupt)?;
    Ok(())
}
