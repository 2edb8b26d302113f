//! Reaching the books: a server, the process that holds the data folder, or this process itself for one command.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use crate::api::Api;
use crate::cli::Place;
use crate::failure::Failure;
use crate::host::{Host, NotOpened, check_not_lost, has_books};

/// How long a folder may be held by a process that does not answer.
const HELD_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(50);
/// The socket in a data folder.
const SOCKET: &str = "recoup.sock";

/// What a command needs of a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Books that are there.
    Existing,
    /// Books that are made when they are not there, then with so many lanes.
    MayCreate(Option<NonZeroU16>),
}

/// Books within reach.
pub(crate) struct Reached {
    /// Talks to them.
    pub(crate) api: Api,
    host: Option<Host>,
    /// Holds the door open: while it lives, a command that answers on the socket does not leave.
    _stay: Option<UnixStream>,
}

impl Reached {
    /// Reaches the books in their place.
    ///
    /// # Errors
    /// [`Failure::Usage`] where there are none, [`Failure::Failed`] when their holder does not answer.
    pub(crate) async fn connect(place: &Place, need: Need) -> Result<Self, Failure> {
        match place {
            Place::Server { url, key } => Ok(Self { api: Api::over_tcp(url, key.clone())?, host: None, _stay: None }),
            Place::Folder(folder) => Self::open(folder, need).await,
        }
    }

    async fn open(folder: &Path, need: Need) -> Result<Self, Failure> {
        if need == Need::Existing && !has_books(folder) {
            check_not_lost(folder)?;
            return Err(Failure::usage(format!(
                "there is no data folder `{}`; make one with `recoup apply recoup.toml` or `recoup demo`, or name another \
                 with --data",
                folder.display()
            )));
        }
        let lanes = match need {
            Need::Existing => None,
            Need::MayCreate(lanes) => lanes,
        };
        let socket = socket_of(folder);
        let started = Instant::now();
        loop {
            if let Ok(stay) = UnixStream::connect(&socket).await {
                return Ok(Self { api: Api::over_socket(&socket)?, host: None, _stay: Some(stay) });
            }
            match Host::open(folder, lanes) {
                Ok(mut host) => {
                    host.listen_on_socket(&socket)?;
                    return Ok(Self { api: Api::over_socket(&socket)?, host: Some(host), _stay: None });
                }
                Err(NotOpened::Held { .. }) if started.elapsed() < HELD_TIMEOUT => tokio::time::sleep(RETRY).await,
                Err(NotOpened::Held { holder }) => {
                    return Err(Failure::failed(format!(
                        "the data folder `{}` is held by {holder}, which does not answer on its socket; wait for it or end it",
                        folder.display()
                    )));
                }
                Err(NotOpened::Failed(failure)) => return Err(failure),
            }
        }
    }

    /// Lets go of the books.
    pub(crate) async fn close(self) {
        // Our own connections are guests too.
        drop(self.api);
        if let Some(host) = self.host {
            host.close().await;
        }
    }
}

/// The socket of a data folder.
pub(crate) fn socket_of(folder: &Path) -> PathBuf {
    folder.join(SOCKET)
}
