use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser};

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

/// The options that every command takes.
#[derive(Args)]
pub(crate) struct Global {
    #[arg(long, global = true, value_name = "URL", help = STORE_HELP)]
    pub(crate) store: Option<String>,
    /// A segment of the namespace to work in; repeated, one level deeper each
    #[arg(short, long, global = true, value_name = "SEGMENT")]
    pub(crate) namespace: Vec<String>,
    /// Print one JSON object a line: key, value, encoding (utf8 or base64), `expires_in_ms`
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

const STORE_HELP: &str = "\
The store, or env:NAME for the URL in that variable [default: $LARDER_STORE, else file:larder-data]";

const AFTER_HELP: &str = "\
Stores: memory:, file:PATH, sled:PATH, redis://HOST:PORT/DB, rediss://…; options follow as
?name=value&…, such as ?durability=volatile or ?namespace=shop.
Durations: 1h30m, 90s, 250ms; a bare number is seconds.
Exit status: 0 done; 1 missing, condition not met, or failures found; 2 usage; 3 error; 4 error
worth retrying.";

/// Reads the command line; help, version and mistakes are answered here.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, ExitCode> {
    Cli::try_parse_from(arguments).map_err(|error| {
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

/// What clap says over several paragraphs, as one line, without what the arguments have to hide.
fn one_line(rendered: &str, arguments: &[OsString]) -> String {
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
    for argument in arguments.iter().filter_map(|argument| argument.to_str()) {
        let redacted = larder::redact(argument);
        if redacted != argument {
            line = line.replace(argument, &redacted);
        }
    }
    text::one_line(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mistakes_are_one_line_without_passwords() {
        let arguments: Vec<OsString> =
            ["larder", "redis://u:hunter2@host/0"].map(OsString::from).into();
        let error = Cli::try_parse_from(&arguments).err().unwrap();
        let line = one_line(&error.render().to_string(), &arguments);
        assert!(line.contains("unrecognized subcommand") && !line.contains('\n'), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}
