use std::time::Duration;

use larder_core::chrono::{DateTime, Utc};
use larder_core::{
    Condition, Cursor, DeleteOptions, Error, ErrorKind, ExpiresIn, Expiry, GetOptions, Result,
    SetItem, SetOptions, Store, StoreExt, Version,
};

use super::calls::{bare_delete, bare_get, bare_set, every_call};
use super::listing::{all_children, all_keys};
use crate::trial::{LONG, Trial};
use crate::verdict::{
    Stop, Verdict, ensure, expect_kind, expect_missing, expect_value, show_error, show_found,
};

/// How long a call may wait for a server that is not there before it counts as hanging.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

fn expect_context(call: &str, error: &Error) -> Verdict {
    ensure!(error.operation().is_some(), "the error of {call} names no operation: {error}");
    ensure!(error.backend().is_some(), "the error of {call} names no backend: {error}");
    let shown = error.to_string();
    ensure!(
        !shown.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)),
        "the error of {call} shows control characters: {}",
        shown.escape_debug()
    );
    ensure!(shown.len() < 2_000, "the error of {call} is {} bytes of text long", shown.len());
    ensure!(
        error.is_retryable() == error.kind().is_retryable(),
        "the error of {call} is retryable or not, and its kind the other"
    );
    Ok(())
}

pub(super) async fn they_say_what_failed(t: &Trial) -> Verdict {
    let store = t.store();
    let long = format!("\u{1b}[31m\u{202e}\n{}", "k".repeat(t.capabilities().max_key_len));
    let error = expect_kind("set", bare_set(&store, &long, "v").await, ErrorKind::InvalidKey)?;
    t.collect(expect_context("set of a key too long", &error))?;
    t.collect(if error.key() == Some(&long) {
        Ok(())
    } else {
        Err(Stop::fail("the error of a set of a key too long names another key, or none"))
    })?;
    let mut others = vec![
        ("get", bare_get(&store, &long).await.map(drop)),
        ("delete", bare_delete(&store, &long).await.map(drop)),
        ("exists", store.exists(&long).await.map(drop)),
        ("expires_in", store.expires_in(&long).await.map(drop)),
        ("get_many", store.get_many(&[&long]).await.map(drop)),
        ("set_many", store.set_many(vec![SetItem::new(&long, "v")]).await.map(drop)),
        ("delete_many", store.delete_many(&[&long]).await.map(drop)),
    ];
    if t.capabilities().renew {
        others.push(("update_expiry", store.update_expiry(&long, Expiry::Never).await.map(drop)));
    }
    for (call, result) in others {
        t.part();
        let error = expect_kind(call, result, ErrorKind::InvalidKey)?;
        // What a batch does by default knows no backend's name.
        if !call.ends_with("_many") {
            t.collect(expect_context(&format!("{call} of a key too long"), &error))?;
        }
        let named = || {
            ensure!(error.key() == Some(&long), "the error of {call} does not name its key");
            ensure!(error.operation().is_some(), "the error of {call} names no operation");
            Ok(())
        };
        t.collect(named())?;
    }
    store.close().await?;
    let error = expect_kind("get", store.get("k\u{1b}").await, ErrorKind::Closed)?;
    t.collect(expect_context("get after close", &error))?;
    let error = expect_kind("set", store.set("k\u{1b}", "v").await, ErrorKind::Closed)?;
    t.collect(expect_context("set after close", &error))
}

pub(super) async fn bad_input_is_no_reason_to_panic(t: &Trial) -> Verdict {
    let store = t.store();
    let has = t.capabilities();
    store.set("k", "v").await?;
    let huge = "\u{10ffff}".repeat(300_000);
    // Wherever somebody cuts it, for a message say, it is cut within a character.
    let uneven: Vec<String> = ["", "k", "kk", "kkk"].map(|start| format!("{start}{huge}")).to_vec();
    let bad_cursor = Cursor::from_bytes(vec![0xff; 100_000]);
    let lives = [Expiry::After(Duration::MAX), Expiry::At(DateTime::<Utc>::MIN_UTC)];
    // What is asked is nonsense; what matters is that each call comes back.
    for huge in &uneven {
        let _ = bare_get(&store, huge).await;
        let _ = bare_set(&store, huge, "v").await;
        let _ = bare_delete(&store, huge).await;
        let _ = store.list_page(huge, None, 10).await;
        let _ = store.list_page(&huge[..800 + huge.len() % 4], None, 10).await;
    }
    let _ = store.get_many(&[&huge, ""]).await;
    let _ = store.delete_many(&[&huge]).await;
    for expiry in lives {
        let _ = store.set("n", "v").expiry(expiry).await;
        let _ = store.update_expiry("n", expiry).await;
    }
    let _ = store.get_opts("n", GetOptions::default().with_renew_for(Duration::MAX)).await;
    let _ = store.list_page(&huge, None, usize::MAX).await;
    let _ = store.list_page("", Some(&bad_cursor), usize::MAX).await;
    let _ = store.list_child_namespaces(Some(&bad_cursor), usize::MAX).await;
    if has.list {
        let deleted = store.delete_prefix(&huge).await;
        if let Ok(deleted) = deleted {
            ensure!(deleted == 0, "delete_prefix of what no key begins with gave {deleted}");
        }
    }
    if has.conditions {
        let huge_version = Version::new(vec![0xff; 1 << 20]);
        let won = store.set("k", "w").if_matches(huge_version).await?.is_applied();
        ensure!(!won, "a version made up matches");
    }
    expect_value(&store, "k", b"v").await?;
    store.ping().await?;
    Ok(())
}

pub(super) async fn a_damaged_record_is_told(t: &Trial) -> Verdict {
    let store = t.store();
    let long = "v".repeat(super::values::at_most(t.capabilities(), 130_000));
    for value in ["", "value", &long] {
        t.part();
        store.set("k", value).ttl(LONG).await?;
        store.set("other", "v").await?;
        t.corrupt_record("k").await?;
        let error =
            expect_kind("get of a damaged record", store.get("k").await, ErrorKind::Corrupt)?;
        ensure!(
            error.key() == Some("k"),
            "the error of a damaged record names the key {:?} instead of \"k\"",
            error.key()
        );
        expect_context("get of a damaged record", &error)?;
        if let Some(Err(error)) = store.get_many(&["k"]).await?.pop() {
            ensure!(
                error.key() == Some("k"),
                "the error of a damaged record in get_many names the key {:?} instead of \"k\"",
                error.key()
            );
        }
        // They may answer from the record's head.
        match store.exists("k").await {
            Ok(true) => {}
            Ok(false) => return Err(Stop::fail("exists(\"k\") gave false for a damaged record")),
            Err(error) => drop(expect_kind("exists", Err::<(), _>(error), ErrorKind::Corrupt)?),
        }
        match store.expires_in("k").await {
            Ok(ExpiresIn::Missing) => {
                return Err(Stop::fail("expires_in(\"k\") gave Missing for a damaged record"));
            }
            Ok(_) => {}
            Err(error) => drop(expect_kind("expires_in", Err::<(), _>(error), ErrorKind::Corrupt)?),
        }
        if t.capabilities().renew {
            let renewed = store.get("k").renew_for(LONG).await;
            expect_kind("get of a damaged record with renewal", renewed, ErrorKind::Corrupt)?;
            match store.update_expiry("k", Expiry::Keep).await {
                Ok(live) => {
                    ensure!(live, "update_expiry(\"k\") gave false for a damaged record");
                }
                Err(error) => drop(expect_kind(
                    "update_expiry of a damaged record",
                    Err::<(), _>(error),
                    ErrorKind::Corrupt,
                )?),
            }
        }
        if t.capabilities().conditions {
            match store.set("k", "new").if_absent().await {
                Ok(outcome) => ensure!(
                    !outcome.is_applied(),
                    "a set if absent took a damaged record for a missing key"
                ),
                Err(error) => drop(expect_kind(
                    "set if absent over a damaged record",
                    Err::<(), _>(error),
                    ErrorKind::Corrupt,
                )?),
            }
            expect_kind("get of a damaged record", store.get("k").await, ErrorKind::Corrupt)?;
        }
        expect_value(&store, "other", b"v").await?;
    }
    Ok(())
}

pub(super) async fn a_damaged_record_can_be_replaced(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("set", "old").ttl(LONG).await?;
    store.set("bulk", "old").await?;
    store.set("deleted", "old").await?;
    store.set("kept", "old").ttl(LONG).await?;
    for key in ["set", "bulk", "deleted", "kept"] {
        t.corrupt_record(key).await?;
    }
    store.set("set", "new").await?;
    expect_value(&store, "set", b"new").await?;
    ensure!(
        store.expires_in("set").await? == ExpiresIn::Never,
        "a set over a damaged record did not clear its expiry"
    );
    for outcome in store.set_many(vec![SetItem::new("bulk", "new")]).await? {
        outcome?;
    }
    expect_value(&store, "bulk", b"new").await?;
    // How long it lives on is left open: the damage may have taken the expiry, too.
    store.set("kept", "new").keep_ttl().await?;
    expect_value(&store, "kept", b"new").await?;
    ensure!(
        store.delete("deleted").await?,
        "delete(\"deleted\") gave false for a damaged record, which counts as live"
    );
    expect_missing(&store, "deleted").await?;
    ensure!(!store.delete("deleted").await?, "delete(\"deleted\") gave true twice");
    if t.capabilities().conditions {
        store.set("deleted", "old").await?;
        t.corrupt_record("deleted").await?;
        let present = DeleteOptions::default().with_condition(Condition::Present);
        match store.delete_opts("deleted", present).await {
            Ok(deleted) => ensure!(
                deleted,
                "delete if present gave false for a damaged record, which counts as live"
            ),
            Err(error) => {
                expect_kind("delete if present", Err::<(), _>(error), ErrorKind::Corrupt)?;
            }
        }
    }
    Ok(())
}

pub(super) async fn damaged_records_stop_no_sweep(t: &Trial) -> Verdict {
    let store = t.store();
    let has = t.capabilities();
    for index in 0..10 {
        store.set(&format!("k{index}"), "v").await?;
        store.set(&format!("dead {index}"), "v").ttl(t.tick()).await?;
    }
    for key in ["k3", "k7", "dead 5"] {
        t.corrupt_record(key).await?;
    }
    t.outlive(t.tick()).await;
    if has.purge {
        store.delete_expired().await?;
        for key in ["k3", "k7"] {
            expect_kind(
                "get of a damaged record after a purge",
                store.get(key).await,
                ErrorKind::Corrupt,
            )?;
        }
    }
    if has.list {
        if let Ok(tree) = t.tree() {
            all_children(&tree, 3).await?;
        }
        let listed = all_keys(&store, "k", 3).await?;
        for index in [0, 1, 2, 4, 5, 6, 8, 9] {
            let key = format!("k{index}");
            ensure!(listed.contains(&key), "a damaged record hides {key:?} from the listing");
        }
    }
    for index in [0, 1, 2, 4, 5, 6, 8, 9] {
        expect_value(&store, &format!("k{index}"), b"v").await?;
    }
    if has.list {
        // Whether it finds the damaged ones depends on whether they still tell their keys.
        store.delete_prefix("k").await?;
        for index in [0, 1, 2, 4, 5, 6, 8, 9] {
            expect_missing(&store, &format!("k{index}")).await?;
        }
    }
    store.delete_all().await?;
    for key in ["k3", "k7", "k0", "dead 5"] {
        expect_missing(&store, key).await?;
    }
    Ok(())
}

pub(super) async fn a_write_without_room_leaves_the_old_value(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "old").ttl(LONG).await?;
    store.flush().await?;
    let before = t.litter().await?;
    t.fill_disk(true).await?;
    let large = super::values::pattern(super::values::at_most(t.capabilities(), 1 << 20), 9);
    let attempt = async {
        for key in ["k", "new"] {
            let set = store.set(key, &large).await;
            expect_kind("set without room", set, ErrorKind::StorageFull)?;
            for outcome in store.set_many(vec![SetItem::new(key, &large)]).await? {
                expect_kind("set_many without room", outcome, ErrorKind::StorageFull)?;
            }
        }
        let kept = store.set("k", &large).keep_ttl().await;
        expect_kind("set that keeps the expiry, without room", kept, ErrorKind::StorageFull)?;
        if t.capabilities().conditions {
            let held = super::conditions::version(&store, "k").await?;
            for (key, condition) in [
                ("new", Condition::Absent),
                ("k", Condition::Present),
                ("k", Condition::Matches(held)),
            ] {
                let options = SetOptions::default().with_condition(condition);
                let set = store.set_opts(key, large.clone().into(), options).await;
                expect_kind("conditional set without room", set, ErrorKind::StorageFull)?;
            }
        }
        if t.capabilities().renew {
            // It may need no room.
            let renewal = store.get("k").renew_for(3 * LONG).await;
            expect_renewed_or_full(&store, "get with a renewal", renewal.map(drop)).await?;
            let update = store.update_expiry("k", Expiry::After(5 * LONG)).await;
            expect_renewed_or_full(&store, "update_expiry", update.map(drop)).await?;
        }
        expect_value(&store, "k", b"old").await?;
        let left = store.expires_in("k").await?;
        ensure!(matches!(left, ExpiresIn::In(_)), "a failed set made the expiry {left:?}");
        expect_missing(&store, "new").await
    };
    let verdict = attempt.await;
    t.fill_disk(false).await?;
    verdict?;
    expect_no_litter(t, &before).await?;
    expect_value(&store, "k", b"old").await?;
    store.set("k", "new").await?;
    expect_value(&store, "k", b"new").await
}

/// Sees that a call without room that should make the life of "k" a longer one did so, or failed.
async fn expect_renewed_or_full(store: &dyn Store, call: &str, answer: Result<()>) -> Verdict {
    let least = if call == "update_expiry" { 4 * LONG } else { 2 * LONG };
    match answer {
        Ok(()) => {
            let left = store.expires_in("k").await?;
            ensure!(
                left.as_duration().is_some_and(|left| left > least),
                "{call} without room succeeded, and left the key {left:?}"
            );
            Ok(())
        }
        full => {
            let call = format!("{call} without room");
            expect_kind(&call, full, ErrorKind::StorageFull).map(drop)
        }
    }
}

/// Sees that nothing was left behind that was not there before.
pub(super) async fn expect_no_litter(t: &Trial, before: &[String]) -> Verdict {
    let mut left = Vec::new();
    // What a thread of the store still does ends soon.
    for _ in 0..200 {
        left = t.litter().await?;
        left.retain(|name| !before.contains(name));
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(Stop::fail(format!("interrupted writes left behind: {}", left.join(", "))))
}

/// The calls on one key, whose errors name it.
const KEYED: [&str; 9] = [
    "get",
    "exists",
    "expires_in",
    "set",
    "delete",
    "get with renewal",
    "update_expiry",
    "set if absent",
    "delete if the version matches",
];

fn expect_named(call: &str, error: &Error) -> Verdict {
    ensure!(
        error.operation().is_some() && error.backend().is_some(),
        "the error of {call} without a server does not name operation and backend: {error}"
    );
    ensure!(
        !KEYED.contains(&call) || matches!(error.key(), Some("k" | "l")),
        "the error of {call} without a server names the key {:?}",
        error.key()
    );
    Ok(())
}

/// Sees that a batch of two keys fails, and tells whether it may be repeated.
async fn batch_fails(store: &dyn Store) -> Verdict<bool> {
    let batch = ["new", "newer"].map(|key| SetItem::new(key, "v")).to_vec();
    let failed: Vec<Error> = match store.set_many(batch).await {
        Ok(outcomes) => outcomes.into_iter().filter_map(Result::err).collect(),
        Err(error) => vec![error],
    };
    ensure!(!failed.is_empty(), "set_many without a server gave Ok for each key");
    Ok(failed.iter().all(Error::is_retryable))
}

pub(super) async fn a_lost_server_is_told_and_found_again(t: &Trial) -> Verdict {
    let store = t.store();
    for key in ["k", "l"] {
        store.set(key, "old").await?;
    }
    t.break_connection(true).await?;
    let get = async { store.get("k").await.map(drop) };
    let ping = async { store.ping().await };
    let set = async { store.set("k", "new").await.map(drop) };
    let verdict = async {
        // Of the writes.
        let mut all_retryable = true;
        for (call, read, answer) in [
            ("get", true, tokio::time::timeout(ANSWER_LIMIT, get).await),
            ("ping", true, tokio::time::timeout(ANSWER_LIMIT, ping).await),
            ("set", false, tokio::time::timeout(ANSWER_LIMIT, set).await),
        ] {
            let Ok(answer) = answer else {
                return Err(Stop::fail(format!(
                    "{call} without a server did not answer within {ANSWER_LIMIT:?}"
                )));
            };
            let Err(error) = answer else {
                return Err(Stop::fail(format!("{call} without a server gave Ok")));
            };
            let told = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
                || (!read && error.kind() == ErrorKind::Unknown);
            ensure!(
                told,
                "{call} without a server gave the error `{}`: {}",
                error.kind(),
                show_error(&error)
            );
            expect_context(call, &error)?;
            all_retryable &= error.is_retryable();
        }
        for (call, answer) in every_call(&store, t) {
            // Where there is nothing to flush, or the server purges by itself, nobody has to be asked.
            if call == "flush" || (call == "delete_expired" && t.capabilities().native_expiry) {
                continue;
            }
            let Ok(answer) = tokio::time::timeout(ANSWER_LIMIT, answer).await else {
                return Err(Stop::fail(format!(
                    "{call} without a server did not answer within {ANSWER_LIMIT:?}"
                )));
            };
            let Err(error) = answer else {
                return Err(Stop::fail(format!("{call} without a server gave Ok")));
            };
            ensure!(
                matches!(
                    error.kind(),
                    ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Unknown
                ),
                "{call} without a server gave the error `{}`: {}",
                error.kind(),
                show_error(&error)
            );
            all_retryable &= error.is_retryable();
            expect_named(call, &error)?;
        }
        Ok(all_retryable & batch_fails(&store).await?)
    };
    let verdict = verdict.await;
    t.break_connection(false).await?;
    let nothing_done = verdict?;
    // It may take some time until the connection is there again.
    for _ in 0..200 {
        if store.ping().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let found = store.get("k").await?;
    ensure!(
        matches!(found.as_deref(), None | Some(b"old" | b"new" | b"v")),
        "get(\"k\") gave {} after the server was back",
        show_found(found.as_deref())
    );
    ensure!(
        !nothing_done || found.as_deref() == Some(b"old"),
        "each call without a server failed as one that may be repeated, yet one was done: get(\"k\") \
         gave {}",
        show_found(found.as_deref())
    );
    for (key, there) in [("l", true), ("new", false), ("newer", false)] {
        let exists = store.exists(key).await?;
        ensure!(
            !nothing_done || exists == there,
            "each call without a server failed as one that may be repeated, yet one was done: \
             exists({key:?}) gave {exists}"
        );
    }
    store.set("k", "after").await?;
    expect_value(&store, "k", b"after").await
}

pub(super) async fn no_secret_is_shown(t: &Trial) -> Verdict {
    let secrets = t.harness().secrets();
    if secrets.is_empty() {
        return Err(Stop::skip("the harness names no `secrets`"));
    }
    let store = t.store();
    let mut shown = vec![
        ("its Debug output", format!("{store:?} {store:#?}")),
        ("the Debug output of its root handle", format!("{:?}", t.root())),
        ("its capabilities", format!("{:?}", t.capabilities())),
    ];
    if let Ok(tree) = t.tree() {
        let child = tree.with_path(&["a"])?;
        shown.push(("a child's Debug output", format!("{child:?} {child:#?}")));
    }
    let long = "k".repeat(t.capabilities().max_key_len + 1);
    if let Err(error) = store.set(&long, "v").await {
        shown.push(("an error", error_text(&error)));
    }
    match t.break_connection(true).await {
        Err(Stop::Skip(_)) => {}
        broken => {
            broken?;
            for (_, call) in every_call(&store, t) {
                if let Err(error) = call.await {
                    shown.push(("the error of a lost server", error_text(&error)));
                }
            }
            t.break_connection(false).await?;
        }
    }
    store.close().await?;
    if let Err(error) = store.get("k").await {
        shown.push(("an error", error_text(&error)));
    }
    shown.push(("the Debug output after close", format!("{store:?}")));
    for (place, text) in shown {
        for secret in &secrets {
            ensure!(!text.contains(secret), "{place} shows a secret of {} bytes", secret.len());
        }
    }
    Ok(())
}

fn error_text(error: &Error) -> String {
    format!("{error} {error:?} {}", show_error(error))
}
