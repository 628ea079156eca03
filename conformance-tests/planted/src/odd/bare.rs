use std::sync::Arc;

use larder_core::{
    Bytes, Capabilities, DeleteOptions, Entry, GetOptions, Result, SetOptions, SetOutcome, Store,
    async_trait,
};

/// A store of five methods, as small as one can be; the rest is the trait's own.
#[derive(Debug, Clone)]
pub(crate) struct Bare(pub(crate) Arc<dyn Store>);

#[async_trait]
impl Store for Bare {
    async fn get_opts(&self, key: &str, options: GetOptions) -> Result<Option<Entry>> {
        self.0.get_opts(key, options).await
    }

    async fn set_opts(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.0.set_opts(key, value, options).await
    }

    async fn delete_opts(&self, key: &str, options: DeleteOptions) -> Result<bool> {
        self.0.delete_opts(key, options).await
    }

    async fn delete_all(&self) -> Result<()> {
        self.0.delete_all().await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
