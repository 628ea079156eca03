//! A Python with the real Litestar in it, for the tests of interoperability.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::install;
use crate::packages::Workspace;
use crate::run::{self, Result};

const REQUIREMENTS: &str = include_str!("../python-requirements.txt");

/// The interpreter to test with: the one that `LARDER_TEST_PYTHON` names, else that of our own
/// environment, made where it is missing.
pub(crate) fn interpreter(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(named) = env::var_os("LARDER_TEST_PYTHON").filter(|path| !path.is_empty()) {
        let named = PathBuf::from(named);
        return if imports(&named) {
            Ok(named)
        } else {
            Err(format!(
                "LARDER_TEST_PYTHON names {}, which cannot import litestar, redis and msgspec",
                named.display()
            ))
        };
    }
    let venv = workspace.target.join("test-env").join("venv");
    let python = venv.join("bin").join("python");
    // Written last, so that an installation broken off half-way is begun again.
    let stamp = venv.join("larder-requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS)
        && imports(&python)
    {
        return Ok(python);
    }
    make(&venv)?;
    eprintln!("installing litestar, redis and msgspec into {}", venv.display());
    let mut pip = run::command(&python);
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]);
    run::output(pip.args(REQUIREMENTS.lines())).map_err(|why| {
        format!(
            "the tests need litestar, redis and msgspec from PyPI, which pip could not install: \
             make PyPI reachable, or name a Python that has them in LARDER_TEST_PYTHON ({why})"
        )
    })?;
    if !imports(&python) {
        return Err(format!(
            "litestar, redis and msgspec were installed into {} and cannot be imported",
            venv.display()
        ));
    }
    fs::write(&stamp, REQUIREMENTS)
        .map_err(|error| format!("{} cannot be written: {error}", stamp.display()))?;
    Ok(python)
}

fn imports(python: &Path) -> bool {
    run::succeeds(run::command(python).args(["-c", "import litestar, msgspec, redis.asyncio"]))
}

/// Makes an empty environment, Debian's own package for that installed where it is missing.
fn make(venv: &Path) -> Result {
    if create(venv) {
        return Ok(());
    }
    let made = install::apt(&["python3", "python3-venv"]).and_then(|()| {
        if create(venv) { Ok(()) } else { Err("`python3 -m venv` fails all the same".to_owned()) }
    });
    made.map_err(|why| {
        format!(
            "the tests need a Python environment, which could not be made ({why}): install what \
             `python3 -m venv` needs, on Debian by `sudo apt-get install python3-venv`, or name a \
             Python with litestar, redis and msgspec in LARDER_TEST_PYTHON"
        )
    })
}

/// Tries the `python3` on `PATH` and then the system's, as another one may lack what that has.
fn create(venv: &Path) -> bool {
    let candidates = run::find("python3").into_iter().chain([PathBuf::from("/usr/bin/python3")]);
    candidates.into_iter().any(|python| {
        // What is left of another attempt would be mixed with this one.
        if venv.exists() && fs::remove_dir_all(venv).is_err() {
            return false;
        }
        run::succeeds(run::command(python).args(["-m", "venv"]).arg(venv))
    })
}
