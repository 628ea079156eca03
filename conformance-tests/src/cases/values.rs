use larder_core::StoreExt;

use crate::trial::Trial;
use crate::verdict::{Verdict, ensure, expect_value};

pub(super) async fn any_bytes_come_back(t: &Trial) -> Verdict {
    let store = t.store();
    let mut values: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    values.push((0..=u8::MAX).collect());
    let texts = ["null", "nil", "None", "0", "-1", "true", "{}", "\r\n", "$-1\r\n", "+OK\r\n"];
    values.extend(texts.map(|text| text.as_bytes().to_vec()));
    for value in &values {
        t.part();
        store.set("k", value).await?;
        t.collect(expect_value(&store, "k", value).await)?;
    }
    Ok(())
}

pub(super) async fn empty_is_not_missing(t: &Trial) -> Verdict {
    let store = t.store();
    store.set("k", "").await?;
    expect_value(&store, "k", b"").await?;
    ensure!(store.exists("k").await?, "exists(\"k\") gave false for an empty value");
    ensure!(store.delete("k").await?, "delete(\"k\") gave false for an empty value");
    Ok(())
}
