use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::commands::Command;
use crate::exit::{self, Failure};
use crate::output::Output;
use crate::text;

/// Look into, fill, copy and check any Larder store.
#[derive(Parser)]
#[command(name = "larder", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

// The options of every command, before it or after it. No doc comment: it would become the help of
// each command.
#[derive(Args)]
pub(crate) struct Global {
    #[arg(long, value_name = "URL", help = STORE_HELP)]
    pub(crate) store: Option<String>,
    /// A segment of the namespace to work in; repeated, one level deeper each
    #[arg(short, long, value_name = "SEGMENT")]
    pub(crate) namespace: Vec<String>,
    #[arg(long, help = JSON_HELP)]
    pub(crate) json: bool,
}

impl Global {
    /// Adds what is given after the command.
    ///
    /// clap's own global arguments would drop what was given before it: a wrong namespace.
    fn and_then(mut self, after: Self) -> Result<Self, clap::Error> {
        if self.store.is_some() && after.store.is_some() {
            let text = "the argument '--store <URL>' cannot be used multiple times";
            return Err(command().error(ErrorKind::ArgumentConflict, text));
        }
        self.store = self.store.or(after.store);
        self.namespace.extend(after.namespace);
        self.json |= after.json;
        Ok(self)
    }
}

const STORE_HELP: &str = "\
The store, or env:NAME for the URL in that variable [default: $LARDER_STORE, else file:larder-data]";

const JSON_HELP: &str =
    "Print one JSON object a line: key, value, encoding (utf8 or base64), expires_in_ms";

const AFTER_HELP: &str = "\
Stores: memory:, file:PATH, sled:PATH, redis://HOST:PORT/DB, rediss://…; options follow as
?name=value&…, such as ?durability=volatile or ?namespace=shop.
Durations: 1h30m, 90s, 250ms; a bare number is seconds.
Exit status: 0 done; 1 missing, condition not met, or failures found; 2 usage; 3 error; 4 error
worth retrying.";

/// The whole command line, as clap describes it.
pub(crate) fn command() -> clap::Command {
    Cli::command().mut_subcommands(Global::augment_args)
}

/// Reads the command line; help, version and mistakes are answered here.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, ExitCode> {
    read(arguments).map_err(|error| {
        let rendered = error.render().to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                let mut out = Output::new();
                exit::report(out.bytes(rendered.as_bytes()).and_then(|()| out.flush()))
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                exit::note(rendered.trim_end());
                ExitCode::from(2)
            }
            _ => exit::report(Err(Failure::Usage(one_line(&rendered, arguments)))),
        }
    })
}

fn read(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let Some((_, after)) = matches.subcommand() {
        cli.global = cli.global.and_then(Global::from_arg_matches(after)?)?;
    }
    Ok(cli)
}

/// What clap says over several paragraphs, as one line, without what the arguments have to hide.
fn one_line(rendered: &str, arguments: &[OsString]) -> String {
    let rendered = arguments.iter().fold(rendered.to_owned(), |rendered, argument| {
        without_secrets(&rendered, &argument.to_string_lossy())
    });
    let mut kept = Vec::new();
    for paragraph in rendered.split("\n\n") {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        let sentence = words.join(" ");
        if sentence.starts_with("Usage:") || sentence.starts_with("For more information") {
            continue;
        }
        kept.push(sentence.strip_prefix("error: ").unwrap_or(&sentence).to_owned());
    }
    let mut line = kept.join("; ");
    line.push_str("; see larder --help");
    text::one_line(&line).into_owned()
}

/// The text with what an argument has to hide taken out.
///
/// An argument is shown as a whole or from where a URL begins in it, as in `--option=URL` and `-oURL`:
/// what follows the scheme is in both.
fn without_secrets(text: &str, argument: &str) -> String {
    let redacted = larder::redact(argument);
    match (argument.split_once(':'), redacted.split_once(':')) {
        (Some((_, secret)), Some((_, shown))) if secret != shown => text.replace(secret, shown),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn options_before_and_after_the_command_add_up() {
        let line =
            ["larder", "-n", "a", "-n", "b", "list", "--json", "-n", "c", "--store", "memory:"];
        let global = read(&words(&line)).ok().unwrap().global;
        assert_eq!(global.namespace, ["a", "b", "c"]);
        assert!(global.json && global.store.as_deref() == Some("memory:"));
        let twice = ["larder", "--store", "memory:", "list", "--store", "file:x"];
        assert_eq!(read(&words(&twice)).err().unwrap().kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn mistakes_are_one_line_without_passwords() {
        for (mistake, arguments) in [
            ("unrecognized subcommand", &["redis://u:hunter2@host/0"][..]),
            ("unrecognized subcommand", &["redis://u:hun  hunter2@host/0"]),
            ("invalid value", &["lock", "k", "--lease=redis://u:hunter2@host", "--", "true"]),
            ("invalid value", &["set", "k", "v", "--ttl", "redis://u:hunter2@host"]),
            ("unexpected value", &["copy", "a", "b", "--overwrite=redis://u:a=hunter2@host"]),
            ("unexpected argument", &["ping", "-nxredis://u:hunter2@host", "y:z"]),
            ("unexpected", &["list", "-l0=redis://u:hunter2@host"]),
        ] {
            let arguments = words(&[&["larder"], arguments].concat());
            let error = read(&arguments).err().unwrap();
            let line = one_line(&error.render().to_string(), &arguments);
            assert!(line.contains(mistake) && !line.contains('\n'), "{line}");
            assert!(!line.contains("hunter2"), "{line}");
        }
    }
}
