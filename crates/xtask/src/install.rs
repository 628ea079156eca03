//! Debian packages, installed where they are missing and we may.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Result};

/// The oldest server that the Redis backend works with.
const OLDEST_REDIS: (u32, u32) = (6, 2);

/// The `redis-server` to test against: the one that `LARDER_TEST_REDIS_SERVER` names, else the one
/// on `PATH`, else a fresh one.
pub(crate) fn redis_server() -> Result<PathBuf> {
    let named = std::env::var_os("LARDER_TEST_REDIS_SERVER").filter(|path| !path.is_empty());
    let server = match named.map(PathBuf::from).or_else(|| run::find("redis-server")) {
        Some(server) => server,
        None => install_redis_server()?,
    };
    check_version(&server)?;
    Ok(server)
}

fn install_redis_server() -> Result<PathBuf> {
    apt(&["redis-server"]).map_err(|why| {
        format!(
            "the tests need redis-server 6.2 or later, which is not there and could not be \
             installed ({why}): install it, on Debian by `sudo apt-get install redis-server`, or \
             name one in LARDER_TEST_REDIS_SERVER"
        )
    })?;
    run::find("redis-server")
        .ok_or_else(|| "redis-server was installed and is not on PATH: add its folder".to_owned())
}

fn check_version(server: &Path) -> Result {
    let text = run::output(run::command(server).arg("--version")).unwrap_or_default();
    match version(&text) {
        Some(version) if version >= OLDEST_REDIS => Ok(()),
        _ => Err(format!(
            "{} is not redis-server 6.2 or later (it says `{}`): install a newer one, or name one \
             in LARDER_TEST_REDIS_SERVER",
            server.display(),
            text.lines().next().unwrap_or_default()
        )),
    }
}

/// The major and minor number in `Redis server v=7.0.15 sha=…`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers =
        text.split_once("v=")?.1.split(['.', ' ']).map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Installs Debian packages; the error says why not, in a few words.
pub(crate) fn apt(packages: &[&str]) -> Result {
    let apt = run::find("apt-get").ok_or("there is no apt-get here")?;
    let root = run::output(run::command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root && !run::succeeds(run::command("sudo").args(["-n", "true"])) {
        return Err("we are not root, and `sudo -n` is refused".to_owned());
    }
    let apt_get = || {
        let mut command = if root { run::command("env") } else { run::command("sudo") };
        if !root {
            command.args(["-n", "env"]);
        }
        command.arg("DEBIAN_FRONTEND=noninteractive").arg(&apt).args([
            "-qq",
            "-o",
            "DPkg::Lock::Timeout=300",
        ]);
        command
    };
    eprintln!("installing {}", packages.join(" "));
    let install = || -> Command {
        let mut command = apt_get();
        command.args(["install", "-y", "--no-install-recommends"]).args(packages);
        command
    };
    // A fresh machine has no package lists, and old lists name files that are gone.
    if run::output(&mut install()).is_ok() {
        return Ok(());
    }
    run::output(apt_get().arg("update"))?;
    run::output(&mut install()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc"), Some((7, 0)));
        assert_eq!(version("Redis server v=6.2 sha"), Some((6, 2)));
        assert_eq!(version("Valkey server v=8.1.0 sha"), Some((8, 1)));
        assert_eq!(version("something else"), None);
        assert_eq!(version("v=x.y"), None);
    }
}
