//! A Redis server behind a Unix socket, opened by URL.
#![cfg(all(unix, feature = "redis"))]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use larder::prelude::*;
use larder::{StoreUrl, open};

/// A server that listens on a socket alone; ended when it goes.
struct Server(Child);

impl Server {
    fn start(socket: &Path, args: &[&str]) -> Self {
        let program = std::env::var("LARDER_TEST_REDIS_SERVER").expect(
            "LARDER_TEST_REDIS_SERVER is not set: run `cargo xtask test`, which installs a Redis \
             server and sets it",
        );
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(socket)
            .args(args)
            .current_dir(socket.parent().expect("a folder"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_socket_is_opened_with_its_login_and_the_options_of_any_redis_url() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("a b.sock");
    let mut server = Server::start(&socket, &["--requirepass", "a+b/c &=?#%"]);
    let place = format!("redis+unix://{}", socket.display()).replace(' ', "%20");
    let login = "db=3&user=default&pass=a+b%2Fc%20%26%3D%3F%23%25";
    let url = format!("{place}?{login}&namespace=shop&protocol=resp3&connections=2");
    let store = loop {
        match open(&url).await {
            Ok(store) => break store,
            // It is not there yet.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
        assert!(server.0.try_wait().unwrap().is_none(), "the server has ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    store.set("k", "v").await.unwrap();

    let raw = open(&format!("{place}?{login}&raw_keys=true&max_value_len=1")).await.unwrap();
    assert_eq!(raw.get("shop:k").await.unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(raw.set("k", "ab").await.unwrap_err().kind(), ErrorKind::TooLarge);
    let other = open(&url.replace("db=3", "db=4")).await.unwrap();
    assert!(!other.exists("k").await.unwrap() && store.exists("k").await.unwrap());

    let error = open(&format!("{place}?pass=hunter2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let shown = StoreUrl::parse(&url).unwrap().to_string();
    assert!(shown.contains("db=3&user=default&pass=***&namespace=shop"), "{shown}");
}
