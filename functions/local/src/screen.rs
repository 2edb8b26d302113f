//! What a command writes: results to stdout, progress and questions to stderr.

use std::borrow::Cow;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use crate::table::Grid;

/// How often a bar is drawn while nothing moves.
const TICK: Duration = Duration::from_millis(120);
/// Columns of a terminal that does not say, and of one that has fewer.
const WIDTH: u16 = 80;

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    json: bool,
    width: Option<u16>,
}

impl Screen {
    /// The process's own.
    pub(crate) fn new(json: bool) -> Self {
        let columns = || comfy_table::Table::new().width().unwrap_or(WIDTH).max(WIDTH);
        let width = io::stdout().is_terminal().then(columns);
        Self { json, width }
    }

    /// Whether a program reads the result.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// Whether a person reads the result on a terminal.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Columns of the terminal that shows the result; `None`: it goes to a file or a program.
    pub(crate) const fn width(&self) -> Option<u16> {
        self.width
    }

    /// Ends the result: whoever reads it from a pipe sees its end, however long this process stays.
    pub(crate) fn let_go(&self) {
        if io::stdout().is_terminal() {
            return;
        }
        let let_go = || {
            io::stdout().flush()?;
            nix::unistd::dup2_stdout(File::options().write(true).open("/dev/null")?).map_err(io::Error::from)
        };
        if let Err(error) = let_go() {
            tracing::debug!(%error, "the result ends with the process");
        }
    }

    /// A line of the result.
    pub(crate) fn line(&self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(io::stdout().lock(), "{text}")?)
    }

    /// The result as it came, with a line's end.
    pub(crate) fn document(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        if !bytes.ends_with(b"\n") {
            stdout.write_all(b"\n")?;
        }
        Ok(stdout.flush()?)
    }

    /// The result as it came, byte for byte.
    pub(crate) fn exact(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    /// A table.
    pub(crate) fn table(&self, grid: &Grid) -> Result<(), Failure> {
        self.line(grid.render(self.width))
    }

    /// Something beside the result.
    pub(crate) fn note(&self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(io::stderr().lock(), "{text}")?)
    }

    /// A bar over so many steps; shown only on a terminal.
    pub(crate) fn steps(&self, total: u64, message: impl Into<Cow<'static, str>>) -> ProgressBar {
        bar(Some(total), "{spinner} {bar:30} {pos}/{len}  {msg}", message)
    }

    /// A bar over so many bytes; shown only on a terminal.
    pub(crate) fn bytes(&self, total: Option<u64>, message: impl Into<Cow<'static, str>>) -> ProgressBar {
        match total {
            Some(_) => bar(total, "{spinner} {bar:30} {bytes}/{total_bytes}  {msg}", message),
            None => bar(None, "{spinner} {bytes}  {msg}", message),
        }
    }

    /// Asks a question whose answer is no unless somebody says yes.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, Failure> {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{question} [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// Whether somebody can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn bar(total: Option<u64>, template: &str, message: impl Into<Cow<'static, str>>) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .tick_chars("-\\|/ ");
    let bar = ProgressBar::with_draw_target(total, target).with_style(style).with_message(message);
    bar.enable_steady_tick(TICK);
    bar
}
