use std::io::IsTerminal;

use crate::exit::Outcome;
use crate::output::Output;
use crate::text;

/// How wide the names of the steps are.
const NAME: usize = 9;

/// What the demo says: with colours on a terminal, plain elsewhere, nothing for `--json`.
pub(super) struct Stage<'a> {
    out: &'a mut Output,
    silent: bool,
    colours: bool,
    steps: u32,
}

impl<'a> Stage<'a> {
    pub(super) fn new(out: &'a mut Output, silent: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colours = wanted && std::io::stdout().is_terminal();
        Self { out, silent, colours, steps: 0 }
    }

    /// A line above others.
    pub(super) fn title(&mut self, title: &str) -> Outcome {
        if self.steps > 0 {
            self.line("")?;
        }
        let title = text::one_line(title);
        if self.colours {
            self.line(&format!("\u{1b}[1m{title}\u{1b}[0m"))
        } else {
            self.line(&title)
        }
    }

    /// The first line of a step.
    pub(super) fn step(&mut self, name: &str, said: &str) -> Outcome {
        self.steps += 1;
        let said = text::one_line(said);
        let number = self.steps;
        if self.colours {
            self.line(&format!("\n\u{1b}[36m{number} {name:NAME$}\u{1b}[0m {said}"))
        } else {
            self.line(&format!("\n{number} {name:NAME$} {said}"))
        }
    }

    /// Something that was tried and seen to be so.
    pub(super) fn seen(&mut self, said: &str) -> Outcome {
        let said = text::one_line(said);
        let mark = if self.colours { "\u{1b}[32m✓\u{1b}[0m" } else { "-" };
        self.line(&format!("{:width$}{mark} {said}", "", width = NAME + 3))
    }

    /// An entry of a list.
    pub(super) fn item(&mut self, said: &str) -> Outcome {
        let said = text::one_line(said);
        self.line(&format!("{:width$}{said}", "", width = NAME + 5))
    }

    /// Something beside the point.
    pub(super) fn note(&mut self, said: &str) -> Outcome {
        let said = text::one_line(said);
        if self.colours {
            self.line(&format!("  \u{1b}[33m{said}\u{1b}[0m"))
        } else {
            self.line(&format!("  {said}"))
        }
    }

    /// A command to try.
    pub(super) fn example(&mut self, command: &str) -> Outcome {
        self.line(&format!("  {}", text::one_line(command)))
    }

    fn line(&mut self, line: &str) -> Outcome {
        if self.silent {
            return Ok(());
        }
        self.out.line(line)?;
        self.out.flush()
    }
}
