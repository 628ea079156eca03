//! The suite, on a real server.

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use common::{Proxy, Root, run, variable};
use larder_conformance::{Fixture, Handle, Harness, cache_conformance, store_conformance};
use larder_core::{Namespace, Result, async_trait};
use larder_redis::{RedisConnection, RedisStore, RedisStoreBuilder};

/// The server that asks for a password, reached over a way that can be cut.
struct Redis {
    server: String,
    login: String,
}

impl Redis {
    fn new() -> Self {
        let url = variable("LARDER_TEST_REDIS_PASSWORD_URL");
        let (login, server) = url.rsplit_once('@').unwrap();
        Self { server: server.to_owned(), login: login.to_owned() }
    }

    /// As the URL writes it.
    fn password(&self) -> &str {
        self.login.rsplit_once(':').unwrap().1
    }
}

#[derive(Debug)]
struct Place {
    root: Root,
    proxy: Proxy,
}

impl Place {
    fn of(fixture: &Fixture) -> &Self {
        fixture.state().unwrap()
    }

    fn builder(&self, login: &str) -> RedisStoreBuilder {
        let url = format!("{login}@127.0.0.1:{}", self.proxy.port);
        RedisStore::builder(url).namespace(&self.root.name).max_value_len(1 << 20)
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
        let root = Root::on(format!("{}@{}", self.login, self.server));
        let place = Place { root, proxy: Proxy::to(self.server.clone()) };
        let store = place.builder(&self.login).build().await?;
        Ok(Fixture::namespaced(store).with_state(place))
    }

    fn name(&self) -> String {
        "redis".to_owned()
    }

    async fn reopen(&self, fixture: &Fixture) -> Result<Option<Handle>> {
        let builder = Place::of(fixture).builder(&self.login);
        Ok(Some(Handle::namespaced(builder.build().await?)))
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
        let root = &Place::of(fixture).root;
        let key = physical(root, namespace, key);
        let mut connection = connection(root).await?;
        let _: () = run(&mut connection, &[b"DEL", key.as_bytes()]).await;
        let _: () = run(&mut connection, &[b"RPUSH", key.as_bytes(), b"item"]).await;
        Ok(true)
    }

    async fn break_connection(&self, fixture: &Fixture, broken: bool) -> Result<bool> {
        Place::of(fixture).proxy.set_broken(broken);
        Ok(true)
    }

    async fn plant_foreign(&self, fixture: &Fixture) -> Result<bool> {
        let root = &Place::of(fixture).root;
        let mut connection = connection(root).await?;
        for key in foreign(root) {
            let _: () = run(&mut connection, &[b"SET", key.as_bytes(), b"theirs"]).await;
        }
        Ok(true)
    }

    async fn missing_foreign(&self, fixture: &Fixture) -> Result<Vec<String>> {
        let root = &Place::of(fixture).root;
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

    fn secrets(&self) -> Vec<String> {
        vec![self.password().to_owned()]
    }

    async fn cleanup(&self, fixture: Fixture) {
        let root = &Place::of(&fixture).root;
        if let Ok(mut connection) = connection(root).await {
            for key in foreign(root) {
                let _: () = run(&mut connection, &[b"DEL", key.as_bytes()]).await;
            }
        }
        let _ = fixture.handle().store().close().await;
    }
}

store_conformance! { harness: Redis::new() }
cache_conformance! { harness: Redis::new() }
