use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder_file::FileStore;

use super::path;
use crate::options::Options;
use crate::{Clock, Durability, NamespacedStore, Result};

/// `file:PATH`
#[derive(Clone)]
pub(crate) struct FileUrl {
    pub(crate) path: PathBuf,
    pub(crate) create: bool,
    durability: Option<Durability>,
    lock_timeout: Option<Duration>,
}

impl FileUrl {
    pub(crate) fn parse(rest: &str, options: &mut Options) -> Result<Self> {
        Ok(Self {
            path: path::parse(rest)?,
            create: options.take_bool("create")?.unwrap_or(true),
            durability: options.take_durability()?,
            lock_timeout: options.take_duration("lock_timeout")?,
        })
    }

    pub(crate) async fn open(
        &self,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Arc<dyn NamespacedStore>> {
        let mut builder = FileStore::builder(&self.path).create(self.create);
        if let Some(durability) = self.durability {
            builder = builder.durability(durability);
        }
        if let Some(limit) = self.lock_timeout {
            builder = builder.lock_timeout(limit);
        }
        if let Some(clock) = clock {
            builder = builder.clock(clock);
        }
        Ok(Arc::new(builder.build().await?))
    }
}
