use std::sync::Arc;
use std::time::Duration;

use larder_memory::MemoryStore;

use super::invalid;
use crate::options::Options;
use crate::{Clock, Durability, NamespacedStore, Result};

/// `memory:`
#[derive(Clone)]
pub(crate) struct MemoryUrl {
    sweep_every: Option<Duration>,
}

impl MemoryUrl {
    pub(crate) fn parse(rest: &str, options: &mut Options) -> Result<Self> {
        if !matches!(rest, "" | "//") {
            return Err(invalid("nothing follows `memory:` but options"));
        }
        if options.take_durability()?.is_some_and(|wanted| wanted != Durability::Volatile) {
            return Err(invalid("a memory store is `durability=volatile` and nothing else"));
        }
        Ok(Self { sweep_every: options.take_duration("sweep_every")? })
    }

    pub(crate) fn open(&self, clock: Option<Arc<dyn Clock>>) -> Result<Arc<dyn NamespacedStore>> {
        let mut builder = MemoryStore::builder();
        if let Some(interval) = self.sweep_every {
            builder = builder.sweep_every(interval);
        }
        if let Some(clock) = clock {
            builder = builder.clock(clock);
        }
        Ok(Arc::new(builder.build()?))
    }
}
