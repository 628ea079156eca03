//! Two instances of a web service, a slow upstream, and one Redis: what one instance has asked for,
//! neither asks for again.
//!
//! ```console
//! $ redis-server &
//! $ cargo run -p larder-cache --example rates -- upstream 127.0.0.1:4000 &
//! $ cargo run -p larder-cache --example rates -- instance 127.0.0.1:3001 &
//! $ cargo run -p larder-cache --example rates -- instance 127.0.0.1:3002 &
//! $ curl http://127.0.0.1:3001/rates/eur & curl http://127.0.0.1:3002/rates/eur
//! ```
//!
//! The upstream says once that it was asked. Stop Redis, or an instance, in the middle: the others go
//! on. `tests/service.rs` does so.

mod service;

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;

use service::{Settings, instance};

async fn slow_upstream(Path(currency): Path<String>) -> Result<String, StatusCode> {
    println!("the upstream is asked for {currency}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    match currency.as_str() {
        "eur" => Ok("1".to_owned()),
        "chf" => Ok("0.94".to_owned()),
        _ => Err(StatusCode::NOT_FOUND),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (app, address) = match words[..] {
        ["upstream", address] => (Router::new().route("/{currency}", get(slow_upstream)), address),
        ["instance", address] => {
            let settings = Settings {
                redis: "redis://127.0.0.1:6379".to_owned(),
                upstream: "http://127.0.0.1:4000".to_owned(),
                lease: Duration::from_secs(5),
                patience: Duration::from_secs(1),
            };
            (instance(&settings).await?, address)
        }
        _ => return Err("say `upstream ADDRESS` or `instance ADDRESS`".into()),
    };
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
