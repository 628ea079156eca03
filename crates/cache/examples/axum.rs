//! A web service that asks a slow upstream once, however many ask it at the same time.
//!
//! `cargo run -p larder-cache --example axum`, then `curl http://127.0.0.1:3000/rates/eur`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use larder_cache::{Cache, CacheError, LoadError, Loaded, Policy};
use larder_memory::MemoryStore;

/// What the upstream says when it has no answer.
#[derive(Debug)]
struct NoSuchCurrency(String);

impl fmt::Display for NoSuchCurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no currency is called {:?}", self.0)
    }
}

/// The upstream: slow, and not to be asked twice at a time.
async fn fetch(currency: &str) -> Result<f64, NoSuchCurrency> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    match currency {
        "eur" => Ok(1.0),
        "chf" => Ok(0.94),
        other => Err(NoSuchCurrency(other.to_owned())),
    }
}

async fn rate(State(rates): State<Cache<f64>>, Path(currency): Path<String>) -> Response {
    let loaded = rates
        .wait_at_most(Duration::from_secs(2))
        .get_or_try_set_with(&currency, async |currency| {
            fetch(&currency).await.map(|rate| Loaded::new(rate).ttl(Duration::from_secs(30)))
        })
        .await;
    match loaded {
        Ok(rate) => rate.to_string().into_response(),
        Err(LoadError::Load(missing)) => {
            (StatusCode::NOT_FOUND, missing.to_string()).into_response()
        }
        Err(LoadError::Cache(CacheError::TimedOut)) => StatusCode::GATEWAY_TIMEOUT.into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rates = Cache::<f64>::builder(Arc::new(MemoryStore::new()))
        .policy(Policy::S3Fifo { max: 1_000 })
        .max_load_time(Duration::from_secs(10))
        .build()
        .await?;
    let app = Router::new().route("/rates/{currency}", get(rate)).with_state(rates);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/rates/eur", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
