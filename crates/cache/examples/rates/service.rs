//! The service: it knows the rates of a slow upstream, which several instances of it ask once
//! between them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use larder_cache::{Cache, CacheError, Distributed, LoadError, Loaded};
use larder_redis::RedisStore;

/// What differs from one installation to the next.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The server that all instances share.
    pub(crate) redis: String,
    /// Where the rates come from.
    pub(crate) upstream: String,
    /// After how long the load of an instance that died is taken over.
    pub(crate) lease: Duration,
    /// How long a request waits for Redis before it does without.
    pub(crate) patience: Duration,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Service {
    rates: Cache<f64>,
    client: reqwest::Client,
    upstream: Arc<str>,
}

/// Why there is no rate.
#[derive(Debug)]
enum NoRate {
    NoSuchCurrency,
    Upstream(String),
}

impl fmt::Display for NoRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchCurrency => f.write_str("there is no such currency"),
            Self::Upstream(error) => write!(f, "the upstream failed: {error}"),
        }
    }
}

/// One instance of the service.
pub(crate) async fn instance(settings: &Settings) -> Result<Router, Failure> {
    // Lazily: an instance can start while Redis is down.
    let store = RedisStore::builder(&settings.redis)
        .namespace("rates")
        .lazy(true)
        .connect_timeout(settings.patience)
        .response_timeout(settings.patience)
        .build()
        .await?;
    let rates = Cache::<f64>::builder(Arc::new(store))
        .distributed(Distributed::new().lease(settings.lease))
        // Rates that were loaded together do not expire together.
        .default_ttl(Duration::from_secs(30))
        .ttl_jitter(0.1)
        // One that has expired is served while one instance asks for the new one.
        .grace(Duration::from_secs(300))
        // An upstream that fails is left in peace for a moment.
        .negative_ttl(Duration::from_secs(1))
        // Without Redis each instance asks for itself, once for all its callers.
        .store_budget(settings.patience)
        .circuit(3, Duration::from_secs(1))
        .hard_timeout(Duration::from_secs(60))
        .build()
        .await?;
    let service = Service {
        rates,
        client: reqwest::Client::new(),
        upstream: settings.upstream.as_str().into(),
    };
    let routes = Router::new().route("/rates/{currency}", get(rate)).route("/loads", get(loads));
    Ok(routes.with_state(service))
}

async fn rate(State(service): State<Service>, Path(currency): Path<String>) -> Response {
    let Service { rates, client, upstream } = service;
    let load = async move |currency: Arc<str>| ask(&client, &upstream, &currency).await;
    match rates.get_or_try_set_with(&currency, load).await {
        Ok(rate) => rate.to_string().into_response(),
        Err(LoadError::Load(error)) => match *error {
            NoRate::NoSuchCurrency => (StatusCode::NOT_FOUND, error.to_string()).into_response(),
            NoRate::Upstream(_) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        },
        Err(LoadError::Cache(CacheError::TimedOut)) => StatusCode::GATEWAY_TIMEOUT.into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn ask(
    client: &reqwest::Client,
    upstream: &str,
    currency: &str,
) -> Result<Loaded<f64>, NoRate> {
    let failed = |error: reqwest::Error| NoRate::Upstream(error.to_string());
    let answer = client.get(format!("{upstream}/{currency}")).send().await.map_err(failed)?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Err(NoRate::NoSuchCurrency);
    }
    let answer = answer.error_for_status().map_err(failed)?;
    // The upstream may say how long the rate counts; else the default does.
    let max_age = answer.headers().get(CACHE_CONTROL).and_then(|value| {
        let seconds =
            value.to_str().ok()?.split(',').find_map(|it| it.trim().strip_prefix("max-age="));
        seconds?.parse().ok().map(Duration::from_secs)
    });
    let text = answer.text().await.map_err(failed)?;
    let rate = text.trim().parse().map_err(|_| NoRate::Upstream(format!("no rate: {text:?}")))?;
    let rate = Loaded::new(rate);
    Ok(match max_age {
        Some(max_age) => rate.ttl(max_age),
        None => rate,
    })
}

/// How often this instance has asked the upstream, by its own count.
async fn loads(State(service): State<Service>) -> String {
    service.rates.space().stats().loads.to_string()
}
