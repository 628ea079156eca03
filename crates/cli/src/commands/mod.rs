//! One module per command.

use clap::Subcommand;

use crate::app::App;
use crate::exit::Outcome;

mod clear;
mod completions;
mod conform;
mod copy;
mod delete;
mod demo;
mod exists;
mod expire;
mod expires_in;
mod get;
mod incr;
mod info;
mod list;
mod lock;
mod namespaces;
mod ping;
mod purge;
mod set;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    Set(set::Set),
    Get(get::Get),
    Delete(delete::Delete),
    Exists(exists::Exists),
    #[command(visible_alias = "ttl")]
    ExpiresIn(expires_in::ExpiresIn),
    Expire(expire::Expire),
    Incr(incr::Incr),
    #[command(visible_alias = "ls")]
    List(list::List),
    Namespaces(namespaces::Namespaces),
    Clear(clear::Clear),
    Purge(purge::Purge),
    Info(info::Info),
    Ping(ping::Ping),
    Copy(copy::Copy),
    Lock(lock::Lock),
    Conform(conform::Conform),
    Completions(completions::Completions),
    Demo(demo::Demo),
}

impl Command {
    /// Whether the command itself answers to Ctrl-C.
    pub(crate) fn minds_signals(&self) -> bool {
        matches!(self, Self::Lock(_))
    }

    pub(crate) async fn run(self, app: &mut App) -> Outcome {
        match self {
            Self::Set(command) => command.run(app).await,
            Self::Get(command) => command.run(app).await,
            Self::Delete(command) => command.run(app).await,
            Self::Exists(command) => command.run(app).await,
            Self::ExpiresIn(command) => command.run(app).await,
            Self::Expire(command) => command.run(app).await,
            Self::Incr(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Namespaces(command) => command.run(app).await,
            Self::Clear(command) => command.run(app).await,
            Self::Purge(command) => command.run(app).await,
            Self::Info(command) => command.run(app).await,
            Self::Ping(command) => command.run(app).await,
            Self::Copy(command) => command.run(app).await,
            Self::Lock(command) => command.run(app).await,
            Self::Conform(command) => command.run(app).await,
            Self::Completions(command) => command.run(app),
            Self::Demo(command) => command.run(app).await,
        }
    }
}
