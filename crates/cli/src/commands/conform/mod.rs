use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use larder::{Clock, Error, StoreUrl, SystemClock};
use larder_conformance::{CheckOptions, Matrix, check_with};

use crate::address;
use crate::app::{Absent, App};
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::text;

mod harness;

use harness::UrlHarness;

/// Try the whole contract on stores and print how each rule fared on each
///
/// It works in a namespace of its own, made for the occasion, and leaves nothing behind. The stores
/// must be there already.
#[derive(Args)]
pub(crate) struct Conform {
    /// Stores' URLs, or env:NAME
    #[arg(value_name = "URL", required = true)]
    urls: Vec<String>,
    /// Only cases whose full name, such as `root::expiry::dies_at_its_deadline`, contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write every case and how it ended to this file: a page where its name ends in .html, else
    /// JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Conform {
    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        let urls = self.urls.iter().map(|url| address::parse(url)).collect::<Outcome<Vec<_>>>()?;
        // All are opened before any is tried: a mistake in the last one costs no time.
        let mut roots = Vec::with_capacity(urls.len());
        for url in &urls {
            roots.push(app.open(url, Absent::Refuse).await?);
        }
        let now = SystemClock.now().timestamp_micros();
        // Letters and digits alone: in a file store, the folder then has this very name.
        let segment = format!("larderconform{}x{now}", std::process::id());
        let mut matrix = Matrix::default();
        for (index, (url, root)) in urls.iter().zip(roots).enumerate() {
            let secret = secret(&address::resolve(&self.urls[index])?);
            let name = column(&urls, index);
            let harness = UrlHarness::new(name, url, app.below(&root)?, app.segments(), &segment)
                .with_secret(secret);
            app.clean_up(harness.clone());
            let mut options = CheckOptions::default();
            if let Some(text) = &self.filter {
                options = options.with_filter(text.clone());
            }
            matrix.push(check_with(&harness, options).await);
            app.run_clean_ups().await?;
        }
        if matrix.reports().iter().all(|report| report.cases().is_empty()) {
            return Err(Failure::Usage("no case has such a name".to_owned()));
        }
        if let Some(path) = self.report {
            let page = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("html"));
            let text = if page { matrix.to_html() } else { matrix.to_json() };
            files::write_atomically(path, Bytes::from(text)).await?;
        }
        if app.json {
            for report in matrix.reports() {
                app.out.line(&report.to_json())?;
            }
        } else {
            app.out.bytes(matrix.to_string().as_bytes())?;
        }
        let broken: usize = matrix.reports().iter().map(|report| report.failures().count()).sum();
        if broken == 0 {
            return Ok(());
        }
        let broken = text::count(broken as u64, "broken promise");
        Err(Failure::No("failures-found", format!("{broken}, listed above")))
    }
}

/// The backend's name, or the whole URL where several have the same.
fn column(urls: &[StoreUrl], index: usize) -> String {
    let backend = urls[index].backend();
    let alone = urls.iter().filter(|url| url.backend() == backend).count() == 1;
    if alone { backend.to_owned() } else { text::escape(&urls[index].to_string()).into_owned() }
}

/// The password of a URL, which the suite then sees shown nowhere.
fn secret(url: &str) -> Option<String> {
    let (credentials, _) = url.split_once("://")?.1.rsplit_once('@')?;
    let (_, password) = credentials.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

/// The error for a namespace that is not empty after all was deleted.
fn left_behind(key: &str) -> Error {
    let text = "something is left in the namespace of `conform`";
    Error::new(larder::ErrorKind::Internal, text).with_key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_found() {
        assert_eq!(secret("redis://u:hunter2@h/0").as_deref(), Some("hunter2"));
        assert_eq!(secret("redis://:hunter2@h").as_deref(), Some("hunter2"));
        assert_eq!(secret("redis://h:6379/0"), None);
        assert_eq!(secret("file:a:b@c"), None);
    }

    #[test]
    fn columns_are_told_apart() {
        let urls = ["memory:", "file:a", "file:b"].map(|url| StoreUrl::parse(url).unwrap());
        let columns: Vec<String> = (0..3).map(|index| column(&urls, index)).collect();
        assert_eq!(columns, ["memory", "file:a", "file:b"]);
    }
}
