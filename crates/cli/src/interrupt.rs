use std::time::Duration;

/// How long a command may take to end after Ctrl-C.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// What shells report for a process that Ctrl-C ended.
pub(crate) const STATUS: u8 = 130;

/// Completes at the first Ctrl-C; from then on a second one, or patience running out, ends the
/// process wherever it is stuck.
pub(crate) async fn asked() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the system's own one ends the process.
        std::future::pending::<()>().await;
    }
    tokio::spawn(async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
        std::process::exit(i32::from(STATUS));
    });
}
