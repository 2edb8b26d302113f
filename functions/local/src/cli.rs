//! The command line: verbs and where the books are. What each verb does is in [`crate::verbs`].

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::failure::Failure;
use crate::verbs;

/// The data folder when none is named.
pub(crate) const DATA_DEFAULT: &str = "./recoup-data";

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  the answer is no: a statement does not hold, findings refuse a close, an
     event was rejected or conflicts with another, work may not begin
  2  wrong usage, or input that is not valid
  3  the store or the server failed

Start here:
  recoup demo                        a made-up month, from events to statements
  recoup apply recoup.toml           your organisation
  recoup serve                       take events over HTTP, run the nights
  recoup keys create --role ingest   a key for those who send events
  recoup close 2026-10               issue a month's statements

Commands work on a data folder, also while `recoup serve` runs in it, or on a
server. `recoup help VERB` tells more about each.";

/// Billing and chargeback for AI agents: events in, statements out, exact to the cent.
#[derive(Debug, Parser)]
#[command(name = "recoup", version, after_help = AFTER_HELP, max_term_width = 110, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    books: BooksOptions,
    /// Print the answer as one JSON document
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Args)]
struct BooksOptions {
    /// The data folder
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "RECOUP_DATA",
        default_value = DATA_DEFAULT,
        help_heading = "Global options"
    )]
    data: PathBuf,
    /// A server instead of a data folder
    #[arg(long, global = true, value_name = "URL", env = "RECOUP_SERVER", help_heading = "Global options")]
    server: Option<String>,
    /// The API key for --server
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "RECOUP_KEY",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    key: Option<String>,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show everything on a made-up company
    Demo(verbs::demo::Demo),
    /// Serve the data folder over HTTP and run the nights
    Serve(verbs::serve::Serve),
    /// Apply an organisation file, after showing what it changes
    Apply(verbs::apply::Apply),
    /// Make, list and revoke API keys
    Keys(verbs::keys::Keys),
    /// Send events from a file
    Ingest(verbs::ingest::Ingest),
    /// Run the nights that have something to do
    Nightly(verbs::nightly::Nightly),
    /// Close a month and issue its statements, or show what stands against it
    Close(verbs::close::Close),
    /// Show or export one team's statement
    Statement(verbs::statement::Statement),
    /// List the statements that were issued
    Statements(verbs::statements::Statements),
    /// Recompute a statement from the events and say whether it holds
    Verify(verbs::verify::Verify),
    /// How a line of a statement came about, added up again
    Explain(verbs::explain::Explain),
    /// Replay past months under another rate card; nothing is written
    Simulate(verbs::simulate::Simulate),
    /// Look up, import and check prices
    Prices(verbs::prices::Prices),
    /// Costs by team, agent, task type, project, user, model, kind or day
    Costs(verbs::costs::Costs),
    /// Budgets: what is left, set a limit, ask for more, decide about it
    Budgets(verbs::budgets::Budgets),
    /// Whether work may begin; reserves what it costs at most
    Authorize(Box<verbs::authorize::Authorize>),
    /// Give back what a reservation holds
    Release(verbs::authorize::Release),
    /// Let a reservation live longer
    Extend(verbs::authorize::Extend),
    /// Alerts of budgets: list, show, acknowledge; who was told of them
    Alerts(verbs::alerts::Alerts),
    /// Tasks that were stopped at their cap: let them go on, or not
    Reviews(verbs::reviews::Reviews),
    /// Who did what, when, from where
    Audit(verbs::audit::Audit),
    /// Tasks and days that cost far more than before, and why
    Anomalies(verbs::anomalies::Anomalies),
    /// One trace as a tree: who caused what, what it cost, who pays and why
    Trace(verbs::trace::Trace),
    /// What a person should look at
    Findings(verbs::findings::Findings),
    /// Events that have no price yet
    Unpriced(verbs::unpriced::Unpriced),
    /// Raw events of a team, for its own check
    Events(verbs::events::Events),
    /// Shared pools of a month: cost in, basis, ratios, parts out
    Pools(verbs::pools::Pools),
    /// The accounts of a month and their trial balance
    Ledger(verbs::ledger::Ledger),
    /// Nights and closes that ran
    Runs(verbs::runs::Runs),
    /// Write made-up events to a file
    Sample(verbs::sample::SampleCommand),
}

/// Where the books are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A server, and the key to it.
    Server {
        /// Its address.
        url: String,
        /// The API key.
        key: Option<String>,
    },
}

impl Cli {
    /// The command line of this process; on `--help`, `--version` and wrong usage the process ends here.
    pub(crate) fn of_process() -> Result<(Self, Place), Failure> {
        let matches = Self::command().get_matches();
        Self::of_matches(&matches)
    }

    fn of_matches(matches: &ArgMatches) -> Result<(Self, Place), Failure> {
        let cli = Self::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
        let stated = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let place = match &cli.books.server {
            Some(_) if stated("data") && stated("server") => {
                return Err(Failure::usage("--data and --server name two places; keep one of them"));
            }
            // What is typed counts more than the environment.
            Some(url) if !stated("data") => Place::Server { url: url.clone(), key: cli.books.key.clone() },
            _ => Place::Folder(cli.books.data.clone()),
        };
        Ok((cli, place))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use clap::CommandFactory as _;

    use super::{Cli, Place};

    fn place(arguments: &[&str]) -> Result<Place, crate::failure::Failure> {
        let arguments = std::iter::once(&"recoup").chain(arguments);
        Cli::of_matches(&Cli::command().get_matches_from(arguments)).map(|(_, place)| place)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_a_narrow_terminal() {
        let command = Cli::command();
        let verbs = command.get_subcommands().filter_map(|verb| verb.get_after_help()).map(ToString::to_string);
        for text in verbs.chain([super::AFTER_HELP.to_owned()]) {
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        }
    }

    #[test]
    fn every_verb_says_what_it_does_and_shows_an_example() {
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{} has no description", verb.get_name());
            let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("recoup "), "{} has no example", verb.get_name());
        }
    }

    #[test]
    fn the_books_are_in_one_place() {
        assert_eq!(place(&["costs"]).unwrap(), Place::Folder("./recoup-data".into()));
        assert_eq!(place(&["--data", "x", "costs"]).unwrap(), Place::Folder("x".into()));
        assert_eq!(place(&["costs", "--data", "x"]).unwrap(), Place::Folder("x".into()));
        let server = Place::Server { url: "http://a".into(), key: Some("k".into()) };
        assert_eq!(place(&["--server", "http://a", "costs", "--key", "k"]).unwrap(), server);
        assert_eq!(place(&["--server", "http://a", "--data", "x", "costs"]).unwrap_err().code(), 2);
    }
}
