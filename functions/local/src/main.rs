//! `recoup`: the one-machine host and the command line, in one binary.
//!
//! Owns: the command line, what people are shown, the data folder's doors (socket and TCP) and clock, made-up events.
//! Does not own: rules, storage, the HTTP interface. Every verb is a client of that interface, also on this machine.
//! Start reading at [`cli`], then [`reach`] for where the books are and [`verbs`] for what each verb does.

mod api;
mod channels;
mod cli;
mod deliver;
mod failure;
mod guests;
mod host;
mod input;
mod logs;
mod ndjson;
#[cfg(test)]
mod other_release;
mod reach;
mod sample;
mod schedule;
mod screen;
mod table;
mod tick;
mod verbs;
mod watch;

use std::process::ExitCode;

use cli::{Cli, Place, Verb};
use failure::{Failure, Verdict};
use logs::LogFormat;
use reach::{Need, Reached};
use screen::Screen;
use verbs::Desk;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    use_small_pages();
    failure::finish(start())
}

/// A huge page is cleared whole before a little of it is used, and a night uses a little of many: a third of its time went
/// there. Where this cannot be set, all that follows is slower and nothing else.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "pages stay huge");
    }
}

fn start() -> Result<Verdict, Failure> {
    let (cli, place) = Cli::of_process()?;
    let screen = Screen::new(cli.json);
    match &cli.verb {
        Verb::Serve(serve) => logs::start("info", serve.log),
        _ => logs::start("error", LogFormat::Text),
    }
    let today = chrono::Utc::now().date_naive();
    if let Verb::Sample(sample) = &cli.verb {
        return sample.run(screen, today);
    }
    if let Verb::Keys(keys) = &cli.verb
        && keys.is_offline()
    {
        return verbs::keys::make_admin(screen);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused("could not start", error))?;
    runtime.block_on(async {
        match &cli.verb {
            Verb::Serve(serve) => serve.run(&place, screen).await,
            Verb::Demo(demo) => demo.run(&place, screen, today).await,
            verb => run(verb, &place, screen).await,
        }
    })
}

/// Runs a verb that talks to the books, wherever they are.
async fn run(verb: &Verb, place: &Place, screen: Screen) -> Result<Verdict, Failure> {
    if let (Verb::Apply(apply), Place::Folder(folder)) = (verb, place)
        && !host::has_books(folder)
    {
        apply.check()?;
    }
    let need = match verb {
        Verb::Apply(apply) => Need::MayCreate(apply.lanes()?),
        Verb::Ingest(_) => Need::MayCreate(None),
        Verb::Keys(keys) if keys.creates() => Need::MayCreate(None),
        Verb::Prices(prices) if prices.imports() => Need::MayCreate(None),
        _ => Need::Existing,
    };
    let reached = Reached::connect(place, need).await?;
    let verdict = perform(verb, &Desk { api: reached.api.clone(), screen }).await;
    // Whoever reads it may be a command that works through this one, which waits for it.
    screen.let_go();
    reached.close().await;
    verdict
}

async fn perform(verb: &Verb, desk: &Desk) -> Result<Verdict, Failure> {
    match verb {
        Verb::Apply(verb) => verb.run(desk).await,
        Verb::Keys(verb) => verb.run(desk).await,
        Verb::Ingest(verb) => verb.run(desk).await,
        Verb::Nightly(verb) => verb.run(desk).await,
        Verb::Close(verb) => verb.run(desk).await,
        Verb::Statement(verb) => verb.run(desk).await,
        Verb::Statements(verb) => verb.run(desk).await,
        Verb::Ledger(verb) => verb.run(desk).await,
        Verb::Pools(verb) => verb.run(desk).await,
        Verb::Authorize(verb) => verb.run(desk).await,
        Verb::Release(verb) => verb.run(desk).await,
        Verb::Extend(verb) => verb.run(desk).await,
        Verb::Anomalies(verb) => verb.run(desk).await,
        Verb::Alerts(verb) => verb.run(desk).await,
        Verb::Reviews(verb) => verb.run(desk).await,
        Verb::Audit(verb) => verb.run(desk).await,
        Verb::Explain(verb) => verb.run(desk).await,
        Verb::Simulate(verb) => verb.run(desk).await,
        Verb::Verify(verb) => verb.run(desk).await,
        Verb::Prices(verb) => verb.run(desk).await,
        Verb::Costs(verb) => verb.run(desk).await,
        Verb::Trace(verb) => verb.run(desk).await,
        Verb::Findings(verb) => verb.run(desk).await,
        Verb::Budgets(verb) => verb.run(desk).await,
        Verb::Unpriced(verb) => verb.run(desk).await,
        Verb::Events(verb) => verb.run(desk).await,
        Verb::Runs(verb) => verb.run(desk).await,
        Verb::Demo(_) | Verb::Serve(_) | Verb::Sample(_) => Ok(Verdict::Yes),
    }
}
