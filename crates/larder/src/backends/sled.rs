use std::path::PathBuf;
use std::sync::Arc;

use larder_sled::SledStore;

use super::path;
use crate::options::Options;
use crate::{Clock, Durability, NamespacedStore, Result};

/// `sled:PATH`
#[derive(Clone)]
pub(crate) struct SledUrl {
    pub(crate) path: PathBuf,
    pub(crate) create: bool,
    durability: Option<Durability>,
    cache_capacity: Option<u64>,
}

impl SledUrl {
    pub(crate) fn parse(rest: &str, options: &mut Options) -> Result<Self> {
        Ok(Self {
            path: path::parse(rest)?,
            create: options.take_bool("create")?.unwrap_or(true),
            durability: options.take_durability()?,
            cache_capacity: options.take_number("cache_capacity")?,
        })
    }

    pub(crate) async fn open(
        &self,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Arc<dyn NamespacedStore>> {
        let mut builder = SledStore::builder(&self.path).create(self.create);
        if let Some(durability) = self.durability {
            builder = builder.durability(durability);
        }
        if let Some(bytes) = self.cache_capacity {
            builder = builder.cache_capacity(bytes);
        }
        if let Some(clock) = clock {
            builder = builder.clock(clock);
        }
        Ok(Arc::new(builder.build().await?))
    }
}
