//! `recoup serve`: the one-machine host.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::channels::Configured;
use crate::cli::Place;
use crate::deliver;
use crate::failure::{Failure, Verdict};
use crate::host::{Host, NotOpened};
use crate::logs::LogFormat;
use crate::reach::socket_of;
use crate::schedule;
use crate::screen::Screen;
use crate::tick;

/// How long a folder may be held by a command that is about to end.
const HELD_ATTEMPTS: u32 = 50;
const HELD_PAUSE: Duration = Duration::from_millis(100);

/// Serves the data folder: events and questions over HTTP for those who have a key, commands of this machine over a socket in
/// the folder, and the nights at 04:30 in the organisation's time zone. SIGTERM and Ctrl-C end it once requests and runs on
/// their way have ended, after 7 s at the latest; the next night goes on with a run that was cut.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes events and questions over HTTP from those who have a key, commands of this
machine over a socket in the folder, and runs the nights at 04:30 in the
organisation's time zone. A night that was missed it makes up for. SIGTERM and
Ctrl-C end it once requests and runs on their way have ended, after 7 s at the
latest; the next night goes on with a run that was cut.

Alerts go where the environment says:
  RECOUP_SLACK_BOT_TOKEN       a bot's token, or
  RECOUP_SLACK_WEBHOOK_URL     an incoming webhook, which has one channel
  RECOUP_SLACK_SIGNING_SECRET  for the buttons at /v1/slack/actions
  RECOUP_SMTP_URL              smtps://USER:PASSWORD@HOST
  RECOUP_MAIL_FROM             whom e-mail comes from

Examples:
  recoup serve
  recoup serve --listen 0.0.0.0:8080 --log json    behind a proxy that ends TLS
  RUST_LOG=debug recoup --data books serve")]
pub(crate) struct Serve {
    /// Address and port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// How log lines look; RUST_LOG says which there are
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log: LogFormat,
}

impl Serve {
    /// Runs the verb.
    pub(crate) async fn run(&self, place: &Place, screen: Screen) -> Result<Verdict, Failure> {
        let Place::Folder(folder) = place else {
            return Err(Failure::usage("`recoup serve` serves a data folder; name one with --data, not --server"));
        };
        let has_port = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port(&self.listen) {
            return Err(Failure::usage(format!(
                "--listen is `{}`; write an address and a port of 0 to 65535, such as 127.0.0.1:8080",
                self.listen
            )));
        }
        let configured = Configured::of_process()?;
        allow_many_connections();
        // Before anybody can know that there is something to stop.
        let mut stop = Stop::listen()?;
        let mut host = open(folder).await?;
        host.listen_on_socket(&socket_of(folder))?;
        let door = configured.door(host.queue());
        let address = host.listen_on_tcp(&self.listen, door).await?;
        screen.line(format!("recoup serves {} on http://{address}", folder.display()))?;
        screen.line(configured.words())?;
        hint(&host, folder, screen).await?;
        tracing::info!(%address, folder = %folder.display(), "serving");
        let nights = tokio::spawn(schedule::run_nights(Arc::clone(host.app())));
        let ticks = tokio::spawn(tick::run(Arc::clone(host.app())));
        let delivery = deliver::run(Arc::clone(host.app()), configured.channels, host.queue().clone());
        let delivery = tokio::spawn(delivery);
        let name = stop.told().await;
        tracing::info!(signal = name, "stopping once requests and runs on their way have ended");
        for working in [nights, ticks, delivery] {
            working.abort();
            // It is told as ended here, and not by whoever looks at it next.
            drop(working.await);
        }
        host.stop().await;
        tracing::info!("stopped");
        Ok(Verdict::Yes)
    }
}

/// Each connection is an open file, of which a shell often allows 1,024 and the machine many more.
fn allow_many_connections() {
    let allowed = getrlimit(Resource::RLIMIT_NOFILE);
    if let Err(error) = allowed.and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most)) {
        tracing::warn!(%error, "no more files can be open, and so connections, than at the start");
    }
}

async fn open(folder: &Path) -> Result<Host, Failure> {
    let mut attempt = 0_u32;
    loop {
        match Host::open(folder, None) {
            Ok(host) => return Ok(host),
            Err(NotOpened::Held { .. }) if attempt < HELD_ATTEMPTS => tokio::time::sleep(HELD_PAUSE).await,
            Err(NotOpened::Held { holder }) => {
                let folder = folder.display();
                return Err(Failure::failed(format!("the data folder `{folder}` is held by {holder}; end it first")));
            }
            Err(NotOpened::Failed(failure)) => return Err(failure),
        }
        attempt = attempt.saturating_add(1);
    }
}

/// What to do next in a folder that is new.
async fn hint(host: &Host, folder: &Path, screen: Screen) -> Result<(), Failure> {
    let folder = folder.display();
    if host.app().organisation_today().await.is_err() {
        screen.line(format!("There is no organisation file yet:  recoup --data {folder} apply recoup.toml"))?;
    }
    let keys = host.app().list_keys().await.map_err(|refusal| Failure::caused("could not read the keys", refusal))?;
    if keys.is_empty() {
        screen.line(format!("There is no API key yet:            recoup --data {folder} keys create --role ingest"))?;
    }
    Ok(())
}

/// The signals that end the server.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> Result<Self, Failure> {
        let at = |error| {
            Failure::caused("could not wait for signals", Box::<dyn std::error::Error + Send + Sync>::from(error))
        };
        let terminate = signal(SignalKind::terminate()).map_err(at)?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt()).map_err(at)? })
    }

    /// Waits for one.
    async fn told(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
