//! Damaged files: told from data, never a panic, and no obstacle to the rest.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use larder_core::{
    ErrorKind, ExpiresIn, ManualClock, Namespace, NamespacedStore, Store, StoreExt, Version,
};
use larder_file::FileStore;

const KEY: &str = "user:1";

struct Setup {
    _folder: tempfile::TempDir,
    clock: ManualClock,
    store: FileStore,
    file: PathBuf,
}

async fn setup() -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let store = FileStore::builder(folder.path()).clock(clock.clone()).build().await.unwrap();
    store.set(KEY, "some data").ttl(Duration::from_secs(60)).await.unwrap();
    let file = common::file_of(store.path(), &Namespace::root(), KEY);
    Setup { _folder: folder, clock, store, file }
}

/// Overwrites a file in place, as a failing disk does.
fn overwrite(file: &Path, bytes: &[u8]) {
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn whatever_is_cut_or_flipped_is_told() {
    let Setup { store, file, .. } = &setup().await;
    let whole = std::fs::read(file).unwrap();
    for len in 0..whole.len() {
        overwrite(file, &whole[..len]);
        let error = store.get(KEY).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {len}");
        assert_eq!(store.exists(KEY).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        overwrite(file, &damaged);
        match store.get(KEY).await {
            // Fractions of a microsecond in the expiry mean nothing, and are rounded away.
            Ok(value) => assert_eq!(value.unwrap(), "some data", "bit {bit}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}"),
        }
    }
}

#[tokio::test]
async fn an_error_names_the_key_and_the_place() {
    let Setup { store, file, .. } = &setup().await;
    overwrite(file, b"garbage");
    for error in [
        store.get(KEY).await.unwrap_err(),
        store.get(KEY).renew_for(Duration::from_secs(1)).await.unwrap_err(),
        store.exists(KEY).await.unwrap_err(),
        store.expires_in(KEY).await.unwrap_err(),
        store.update_expiry(KEY, Duration::from_secs(1).into()).await.unwrap_err(),
        store.get_many(&[KEY]).await.unwrap().pop().unwrap().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!((error.key(), error.backend()), (Some(KEY), Some("file")));
        assert!(error.operation().is_some());
        assert!(error.message().contains(file.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn setting_and_deleting_mend_it() {
    let Setup { store, file, .. } = &setup().await;
    overwrite(file, b"garbage");
    store.set(KEY, "new").await.unwrap();
    assert_eq!(store.get(KEY).await.unwrap().unwrap(), "new");
    overwrite(file, b"");
    assert!(store.delete(KEY).await.unwrap());
    assert!(!store.delete(KEY).await.unwrap());
    assert!(!file.exists());
}

#[tokio::test]
async fn what_replaces_it_keeps_the_life_that_its_beginning_tells() {
    let Setup { store, file, clock, .. } = &setup().await;
    let (whole, life) = (std::fs::read(file).unwrap(), Duration::from_secs(60));
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    overwrite(file, &damaged);
    store.set(KEY, "new").keep_ttl().await.unwrap();
    assert_eq!(store.expires_in(KEY).await.unwrap(), ExpiresIn::In(life));
    overwrite(file, b"neither head nor value");
    store.set(KEY, "new").keep_ttl().await.unwrap();
    assert_eq!(store.expires_in(KEY).await.unwrap(), ExpiresIn::Never);
    overwrite(file, &damaged);
    clock.advance(life);
    store.set(KEY, "new").keep_ttl().await.unwrap();
    assert_eq!(store.get(KEY).await.unwrap().unwrap(), "new");
}

#[tokio::test]
async fn a_record_that_cannot_be_decoded_is_there_but_matches_nothing() {
    let Setup { store, file, .. } = &setup().await;
    overwrite(file, b"garbage");
    assert!(!store.set(KEY, "x").if_absent().await.unwrap().is_applied());
    assert!(!store.set(KEY, "x").if_matches(Version::new("garbage")).await.unwrap().is_applied());
    assert!(!store.delete(KEY).if_matches(Version::new("garbage")).await.unwrap());
    assert_eq!(std::fs::read(file).unwrap(), b"garbage");
    assert!(store.set(KEY, "new").if_present().await.unwrap().is_applied());
    assert_eq!(store.get(KEY).await.unwrap().unwrap(), "new");
}

#[tokio::test]
async fn a_file_in_another_keys_place_is_not_its_value() {
    let Setup { store, file, .. } = &setup().await;
    let other = common::file_of(store.path(), &Namespace::root(), "user:2");
    std::fs::copy(file, other).unwrap();
    assert_eq!(store.get("user:2").await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.exists("user:2").await.unwrap_err().kind(), ErrorKind::Corrupt);
    let page = store.list_page("", None, 10).await.unwrap();
    assert_eq!((page.keys, page.unlisted), (vec![KEY.to_owned()], 1));
    assert_eq!(store.get(KEY).await.unwrap().unwrap(), "some data");
}

#[tokio::test]
async fn listing_and_purging_pass_over_it_and_clearing_removes_it() {
    let Setup { store, file, clock, .. } = &setup().await;
    let child = store.with_namespace("child").unwrap();
    for name in ["a", "b"] {
        store.set(name, "v").ttl(Duration::from_secs(1)).await.unwrap();
        child.set(name, "v").ttl(Duration::from_secs(1)).await.unwrap();
    }
    // Its head says that it has expired, but the check says that this is not to be believed.
    let mut damaged = std::fs::read(file).unwrap();
    damaged[17] ^= 0x40;
    overwrite(file, &damaged);
    let within = common::file_of(store.path(), child.namespace(), "b");
    overwrite(&within, &[0xff; 3_000]);

    let page = store.list_page("", None, 10).await.unwrap();
    assert_eq!(page.keys.len() as u64 + page.unlisted, 3);
    clock.advance(Duration::from_secs(30));
    assert_eq!(store.delete_expired().await.unwrap(), 3);
    assert!(file.exists() && within.exists());
    assert_eq!(store.list_child_namespaces(None, 10).await.unwrap().segments, ["child"]);
    assert_eq!(child.delete_prefix("").await.unwrap(), 1);
    assert!(!within.exists());
    store.delete_all().await.unwrap();
    assert!(!file.exists());
}

#[tokio::test]
async fn what_the_beginning_tells_is_told_without_a_look_at_the_value() {
    let Setup { store, file, clock, .. } = &setup().await;
    let mut damaged = std::fs::read(file).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    overwrite(file, &damaged);
    assert!(store.exists(KEY).await.unwrap());
    assert_eq!(store.expires_in(KEY).await.unwrap(), ExpiresIn::In(Duration::from_secs(60)));
    clock.advance(Duration::from_secs(60));
    assert!(!store.exists(KEY).await.unwrap());
    assert_eq!(store.expires_in(KEY).await.unwrap(), ExpiresIn::Missing);
    assert_eq!(store.get(KEY).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn no_bytes_make_it_panic_or_believe_a_length() {
    let Setup { store, file, .. } = &setup().await;
    let whole = std::fs::read(file).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..2_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random() % 4 {
            let at = usize::try_from(random()).unwrap() % bytes.len();
            bytes[at] = random().to_le_bytes()[0];
        }
        overwrite(file, &bytes);
        if let Err(error) = store.get(KEY).await {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
        let _ = store.exists(KEY).await;
        store.list_page("", None, 10).await.unwrap();
    }
    for claimed in
        [&b"\x84\xaaexpires_at\xc0\xa4data\xc6\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff"]
    {
        overwrite(file, claimed);
        assert_eq!(store.get(KEY).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    // A hole of a tebibyte: longer than any record, and not to be read.
    std::fs::File::options().write(true).open(file).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(store.get(KEY).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.list_page("", None, 10).await.unwrap().unlisted, 1);
}

#[tokio::test]
async fn what_killed_writers_left_is_cleaned_up() {
    let Setup { store, .. } = &setup().await;
    let child = store.with_namespace("child").unwrap();
    child.set("k", "v").await.unwrap();
    let plant = || {
        for folder in [store.path().to_owned(), store.path().join("child")] {
            for (stripe, content) in [(0, &b""[..]), (7, b"\x82\xaaexp"), (255, b"x")] {
                let name = format!(".larder-tmp-{stripe:02x}-0123456789abcdef");
                std::fs::write(folder.join(name), content).unwrap();
            }
        }
        common::leftovers(store.path()).len()
    };
    assert_eq!(plant(), 6);
    assert_eq!(store.list_page("", None, 10).await.unwrap().keys, [KEY]);
    assert_eq!(child.list_page("", None, 10).await.unwrap().unlisted, 0);
    assert_eq!(store.delete_expired().await.unwrap(), 0);
    assert_eq!(common::leftovers(store.path()), [""; 0]);
    assert_eq!(plant(), 6);
    child.delete_all().await.unwrap();
    assert_eq!(common::leftovers(store.path()).len(), 3);
    store.delete_all().await.unwrap();
    assert_eq!(common::leftovers(store.path()), [""; 0]);
}
