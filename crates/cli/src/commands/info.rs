use clap::Args;
use larder::{Capabilities, Durability};
use serde::Serialize;

use crate::app::App;
use crate::durations;
use crate::exit::Outcome;
use crate::text;

/// Show what the store is and what it can do
#[derive(Args)]
pub(crate) struct Info {}

#[derive(Serialize)]
struct Answer<'a> {
    store: &'a str,
    backend: &'a str,
    namespace: Vec<&'a str>,
    durability: &'a str,
    #[serde(flatten)]
    flags: serde_json::Map<String, serde_json::Value>,
    max_key_len: usize,
    max_value_len: Option<u64>,
    expiry_granularity_ms: f64,
}

impl Info {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let url = app.url()?;
        let store = app.store().await?;
        let able = store.capabilities();
        let shown = url.to_string();
        let durability = durability(able.durability);
        let limit = (able.max_value_len != u64::MAX).then_some(able.max_value_len);
        if app.json {
            let flags = flags(&able);
            return app.out.json(&Answer {
                store: &shown,
                backend: url.backend(),
                namespace: store.namespace().segments().collect(),
                durability,
                flags: flags.into_iter().map(|(name, on)| (name.to_owned(), on.into())).collect(),
                max_key_len: able.max_key_len,
                max_value_len: limit,
                expiry_granularity_ms: able.expiry_granularity.as_secs_f64() * 1_000.0,
            });
        }
        let can: Vec<&str> =
            flags(&able).into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
        let segments: Vec<_> = store.namespace().segments().map(text::escape).collect();
        let namespace =
            if segments.is_empty() { "(root)".to_owned() } else { segments.join(" / ") };
        let value = limit.map_or_else(|| "as memory or disk allow".to_owned(), text::bytes);
        for (name, value) in [
            ("store", &*text::escape(&shown)),
            ("backend", url.backend()),
            ("namespace", &namespace),
            ("durability", durability),
            ("capabilities", &can.join(" ")),
            ("longest key", &text::bytes(able.max_key_len as u64)),
            ("largest value", &value),
            ("expiry steps", &granularity(&able)),
        ] {
            app.out.line(&format!("{name:<14} {value}"))?;
        }
        Ok(())
    }
}

fn flags(able: &Capabilities) -> [(&'static str, bool); 7] {
    [
        ("list", able.list),
        ("ordered_list", able.ordered_list),
        ("conditions", able.conditions),
        ("renew", able.renew),
        ("purge", able.purge),
        ("native_expiry", able.native_expiry),
        ("shared", able.shared),
    ]
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Volatile => "volatile",
        Durability::ProcessCrash => "process-crash",
        Durability::PowerLoss => "power-loss",
        _ => "unknown to this command",
    }
}

fn granularity(able: &Capabilities) -> String {
    let nanos = able.expiry_granularity.as_nanos();
    if nanos.is_multiple_of(1_000_000) {
        return durations::format(able.expiry_granularity);
    }
    if nanos.is_multiple_of(1_000) { format!("{}us", nanos / 1_000) } else { format!("{nanos}ns") }
}
