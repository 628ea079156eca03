//! The suite, on a real server.

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use common::{Root, run};
use larder_conformance::{Fixture, Handle, Harness, store_conformance};
use larder_core::{Namespace, Result, async_trait};
use larder_redis::RedisConnection;

struct Redis;

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// The Redis key of a key, as the harness knows it without asking the store.
fn physical(root: &Root, namespace: &Namespace, key: &str) -> String {
    let path = Namespace::from_segments([root.name.as_str()]).unwrap();
    format!("{}:{key}", path.join_all(namespace.segments()).unwrap().encode())
}

async fn connection(root: &Root) -> Result<RedisConnection> {
    root.builder().build().await?.connection().await
}

/// Names of a neighbour and of someone else among ours, none of which Larder can have written.
fn foreign(root: &Root) -> [String; 4] {
    let name = &root.name;
    [format!("{name}2:k"), format!("{name}_child:k"), format!("{name}/a"), format!("{name}//a:k")]
}

#[async_trait]
impl Harness for Redis {
    async fn open(&self) -> Result<Fixture> {
        let root = Root::new();
        let store = root.builder().build().await?;
        Ok(Fixture::namespaced(store).with_state(root))
    }

    fn name(&self) -> String {
        "redis".to_owned()
    }

    async fn reopen(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        let root: &Root = fixture.state().unwrap();
        Ok(Some(Handle::namespaced(root.builder().build().await?)))
    }

    async fn second_handle(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        self.reopen(fixture).await
    }

    async fn corrupt_record(
        &self,
        fixture: &Fixture,
        namespace: &Namespace,
        key: &str,
    ) -> Result<bool> {
        let root: &Root = fixture.state().unwrap();
        let key = physical(root, namespace, key);
        let mut connection = connection(root).await?;
        let _: () = run(&mut connection, &[b"DEL", key.as_bytes()]).await;
        let _: () = run(&mut connection, &[b"RPUSH", key.as_bytes(), b"item"]).await;
        Ok(true)
    }

    async fn plant_foreign(&self, fixture: &Fixture) -> Result<bool> {
        let root: &Root = fixture.state().unwrap();
        let mut connection = connection(root).await?;
        for key in foreign(root) {
            let _: () = run(&mut connection, &[b"SET", key.as_bytes(), b"theirs"]).await;
        }
        Ok(true)
    }

    async fn missing_foreign(&self, fixture: &Fixture) -> Result<Vec<String>> {
        let root: &Root = fixture.state().unwrap();
        let mut connection = connection(root).await?;
        let mut missing = Vec::new();
        for key in foreign(root) {
            let value: Option<Vec<u8>> = run(&mut connection, &[b"GET", key.as_bytes()]).await;
            if value.as_deref() != Some(b"theirs") {
                missing.push(format!("{key} is gone or changed"));
            }
        }
        Ok(missing)
    }

    async fn cleanup(&self, fixture: Fixture) {
        let root: &Root = fixture.state().unwrap();
        if let Ok(mut connection) = connection(root).await {
            for key in foreign(root) {
                let _: () = run(&mut connection, &[b"DEL", key.as_bytes()]).await;
            }
        }
        let _ = fixture.handle().store().close().await;
    }
}

store_conformance! { harness: Redis }
