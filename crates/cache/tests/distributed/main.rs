//! The cache across processes: F6, F7, the part of L2 that several processes share, and F2 across
//! them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod carrying;
mod fences;
#[cfg(unix)]
mod flight_processes;
mod flights;
#[cfg(unix)]
mod lock_processes;
mod locks;
#[cfg(unix)]
mod place;
mod stale;
mod support;
