//! The application in this process: the data folder opened and held, and the doors to it.
//!
//! A command that finds nobody in the folder opens it, answers on the socket while it works, and stays until the guests
//! that came meanwhile have gone.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use recoup_http::{Access, Connection, InProcess, Origin, SILENCE_MAX, SlackDoor, TcpDoor, router, router_with_slack};
use recoup_store::{SystemClock, causes};
use recoup_store_sqlite::{OpenError, Options, SqliteStore};
use recoup_workflows::notify::AlertQueue;
use recoup_workflows::{App, Ports};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::guests::{Guests, User, Welcoming};

/// The database of a data folder; where it is missing the folder is new.
const DATABASE: &str = "recoup.sqlite3";
/// What was written last, before it is in the database.
const DATABASE_LOG: &str = "recoup.sqlite3-wal";
/// The folder of issued documents.
const DOCUMENTS: &str = "documents";
/// The file with the key that makes pseudonyms of users.
const USER_KEY: &str = "user.key";
const USER_KEY_BYTES: usize = 32;
/// Longest path that fits a socket's address.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How long requests and runs may take to end when the process is told to stop: whoever told it often waits for 10 s.
const LAST_REQUESTS: Duration = Duration::from_secs(7);
/// How long guests may stay before somebody is told why the command has not ended.
const GUESTS_PATIENCE: Duration = Duration::from_secs(2);

/// How long what follows from a night may take before somebody is told why the command has not ended.
const JOBS_PATIENCE: Duration = Duration::from_secs(2);

/// How long a connection may take to be counted.
const LAST_STEP: Duration = Duration::from_millis(2);

/// A data folder held by this process.
pub(crate) struct Host {
    app: Arc<App>,
    jobs: Arc<InProcess>,
    queue: AlertQueue,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<io::Result<()>>>,
    socket: Option<PathBuf>,
    guests: Guests,
}

/// Why a data folder was not opened.
pub(crate) enum NotOpened {
    /// Another process holds it.
    Held {
        /// That process, in words.
        holder: String,
    },
    /// It cannot be opened.
    Failed(Failure),
}

/// Whether a folder holds books.
pub(crate) fn has_books(folder: &Path) -> bool {
    folder.join(DATABASE).exists()
}

/// Refuses a folder whose database is gone, or was cut off to nothing, while what is made after it is there: it would look
/// like a new one, and `SQLite` removes a log that lies beside an empty database.
pub(crate) fn check_not_lost(folder: &Path) -> Result<(), Failure> {
    let is_empty = |name: &str| fs::metadata(folder.join(name)).map_or(true, |found| found.len() == 0);
    let has_documents = || fs::read_dir(folder.join(DOCUMENTS)).is_ok_and(|mut found| found.next().is_some());
    let has_more = || folder.join(USER_KEY).exists() || !is_empty(DATABASE_LOG) || has_documents();
    if !is_empty(DATABASE) || !has_more() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the data folder `{}` has lost its database: {DATABASE} is empty or gone, and what is made after it is there; \
         restore the folder from a backup, or choose another one to begin anew",
        folder.display()
    )))
}

impl Host {
    /// Opens a data folder, and makes it where there is none, then with so many lanes.
    pub(crate) fn open(folder: &Path, lanes: Option<NonZeroU16>) -> Result<Self, NotOpened> {
        let options = Options { lanes: lanes.filter(|_| !has_books(folder)) };
        check_not_lost(folder).map_err(NotOpened::Failed)?;
        let store = SqliteStore::open(folder, options).map_err(not_opened)?;
        let user_key = user_key(folder, store.was_unused()).map_err(NotOpened::Failed)?;
        let lanes = store.lanes();
        let documents = Arc::new(store.documents().clone());
        let store = Arc::new(store);
        let clock = Arc::new(SystemClock);
        let queue = AlertQueue::new(store.clone(), clock.clone());
        let ports = Ports {
            log: store.clone(),
            live: store.clone(),
            leases: store.clone(),
            books: store,
            documents,
            alerts: Arc::new(queue.clone()),
            clock,
        };
        let (stop, _) = watch::channel(false);
        let app = Arc::new(App::new(ports, user_key, lanes));
        let jobs = Arc::new(InProcess::new(Arc::clone(&app)));
        Ok(Self { app, jobs, queue, stop, servers: Vec::new(), socket: None, guests: Guests::default() })
    }

    /// The application.
    pub(crate) const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Alerts that wait to be delivered.
    pub(crate) const fn queue(&self) -> &AlertQueue {
        &self.queue
    }

    /// Answers the operator on a socket that only the folder's owner can open. A socket that a process left which held
    /// the folder before is replaced: whoever has the folder's lock is the only one.
    pub(crate) fn listen_on_socket(&mut self, socket: &Path) -> Result<(), Failure> {
        let at = |error: io::Error| Failure::caused(format!("could not listen on `{}`", socket.display()), error);
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(Failure::usage(format!(
                "the path `{}` has more than {SOCKET_PATH_BYTES_MAX} bytes, too many for a socket; name the folder by a \
                 shorter path with --data",
                socket.display()
            )));
        }
        match fs::remove_file(socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(error)),
            Ok(()) | Err(_) => {}
        }
        let listener = bind_private(socket).map_err(at)?;
        let listener = Welcoming::new(listener, self.guests.clone());
        let service = router(Arc::clone(&self.app), Access::Operator, self.jobs.clone()).layer(map_request(with_user));
        let service = service.into_make_service_with_connect_info::<User>();
        let serve = axum::serve(listener, service).with_graceful_shutdown(self.stopped());
        self.servers.push(tokio::spawn(serve.into_future()));
        self.socket = Some(socket.to_owned());
        Ok(())
    }

    /// Answers whoever brings a key on a TCP address, and Slack where it has a door.
    pub(crate) async fn listen_on_tcp(
        &mut self,
        address: &str,
        slack: Option<SlackDoor>,
    ) -> Result<SocketAddr, Failure> {
        let at = |error: io::Error| Failure::caused(format!("could not listen on {address}"), error);
        let listener = TcpListener::bind(address).await.map_err(at)?;
        let bound = listener.local_addr().map_err(at)?;
        let service = router_with_slack(Arc::clone(&self.app), Access::Keys, self.jobs.clone(), slack);
        // The address that connected: a proxy's where one stands in front.
        let service = service.into_make_service_with_connect_info::<Connection>();
        let serve = axum::serve(TcpDoor::new(listener, SILENCE_MAX), service).with_graceful_shutdown(self.stopped());
        self.servers.push(tokio::spawn(serve.into_future()));
        Ok(bound)
    }

    /// Ends once the host is told to stop.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the host is gone: stopped as well.
            drop(stop.wait_for(|stopped| *stopped).await);
        }
    }

    /// Waits for jobs and guests, lets nobody in any more, and lets go of the folder.
    pub(crate) async fn close(mut self) {
        self.jobs_ended().await;
        if tokio::time::timeout(GUESTS_PATIENCE, self.guests.all_gone()).await.is_err() {
            eprintln!("waiting for another recoup command that works through this one");
            self.guests.all_gone().await;
        }
        self.close_door();
        // Whoever reached the door before it closed is counted by now.
        tokio::time::sleep(LAST_STEP).await;
        self.guests.all_gone().await;
        // Nobody is left who could start one.
        self.jobs_ended().await;
        self.stop_servers().await;
    }

    async fn jobs_ended(&self) {
        let mut ended = pin!(self.jobs.all_ended());
        if tokio::time::timeout(JOBS_PATIENCE, &mut ended).await.is_err() {
            eprintln!("waiting for a run to end, or for the anomalies that follow from it");
            ended.await;
        }
    }

    /// Lets nobody in any more, gives requests and runs on their way some time, and lets go of the folder. A run that is
    /// not done by then is recorded as cut: the next one goes on where it was.
    pub(crate) async fn stop(mut self) {
        self.close_door();
        self.stop.send_replace(true);
        let servers = std::mem::take(&mut self.servers);
        let ended = async { tokio::join!(self.jobs.all_ended(), ended(servers)) };
        if tokio::time::timeout(LAST_REQUESTS, ended).await.is_err() {
            tracing::warn!("requests or runs were still on their way after {} s", LAST_REQUESTS.as_secs());
        }
        self.jobs.cut().await;
        match self.app.cut_runs().await {
            Ok(runs) => runs.iter().for_each(|run| tracing::warn!(run, "a run was cut; the next night goes on")),
            Err(error) => tracing::error!(error = causes(&error), "runs that were cut are recorded by the next one"),
        }
        self.give_back_room().await;
    }

    fn close_door(&mut self) {
        if let Some(socket) = self.socket.take()
            && let Err(error) = fs::remove_file(&socket)
        {
            tracing::debug!(%error, "the socket was gone before");
        }
    }

    async fn stop_servers(&mut self) {
        self.stop.send_replace(true);
        let servers = std::mem::take(&mut self.servers);
        if tokio::time::timeout(LAST_REQUESTS, ended(servers)).await.is_err() {
            tracing::warn!("requests were still on their way after {} s", LAST_REQUESTS.as_secs());
        }
        self.give_back_room().await;
    }

    async fn give_back_room(&self) {
        if let Err(error) = self.app.give_back_room().await {
            tracing::warn!(error = causes(&error), "room that was set aside counts until its time is over");
        }
    }
}

/// Waits for servers that were told to stop.
async fn ended(servers: Vec<JoinHandle<io::Result<()>>>) {
    for server in servers {
        if let Err(error) = server.await {
            tracing::warn!(%error, "a server did not end well");
        }
    }
}

/// A user of the machine, for the audit record.
async fn with_user(ConnectInfo(user): ConnectInfo<User>, mut request: Request) -> Request {
    if let Some(uid) = user.0 {
        request.extensions_mut().insert(Origin(format!("uid {uid}").into()));
    }
    request
}

fn not_opened(error: OpenError) -> NotOpened {
    match error {
        OpenError::Locked { pid, .. } => {
            let holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            NotOpened::Held { holder }
        }
        OpenError::Foreign { .. } | OpenError::Newer { .. } | OpenError::LanesFixed { .. } => {
            NotOpened::Failed(Failure::usage(error.to_string()))
        }
        other => NotOpened::Failed(Failure::caused("could not open the data folder", other)),
    }
}

/// Binds a socket that nobody else could open even for a moment: it gets its name once its mode is right.
fn bind_private(socket: &Path) -> io::Result<UnixListener> {
    let unnamed = socket.with_extension("new");
    match fs::remove_file(&unnamed) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&unnamed)?;
    fs::set_permissions(&unnamed, Permissions::from_mode(0o600))?;
    fs::rename(&unnamed, socket)?;
    Ok(listener)
}

/// The key of the folder, made while nothing is recorded there: another key would give every user another pseudonym. It
/// gets its name once it is whole and on disk.
fn user_key(folder: &Path, unused: bool) -> Result<[u8; USER_KEY_BYTES], Failure> {
    let path = folder.join(USER_KEY);
    let at = |error: io::Error| Failure::caused(format!("could not use `{}`", path.display()), error);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let mut key = [0; USER_KEY_BYTES];
            let damaged = || {
                let path = path.display();
                Failure::failed(format!(
                    "`{path}` is not 64 hexadecimal digits; restore it from a backup of the folder"
                ))
            };
            hex::decode_to_slice(text.trim(), &mut key).map_err(|_| damaged())?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::NotFound && unused => make_user_key(&path).map_err(at),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::failed(format!(
            "`{}` is gone, and the users in these books are known by pseudonyms made with it; restore it from a backup",
            path.display()
        ))),
        Err(error) => Err(at(error)),
    }
}

fn make_user_key(path: &Path) -> io::Result<[u8; USER_KEY_BYTES]> {
    let mut key = [0; USER_KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let unnamed = path.with_extension("key.new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unnamed)?;
    writeln!(file, "{}", hex::encode(key))?;
    file.sync_all()?;
    fs::rename(&unnamed, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::{bind_private, user_key};

    #[test]
    fn a_user_key_that_is_gone_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        assert!(user_key(folder.path(), false).is_err());
        assert!(!folder.path().join(super::USER_KEY).exists());
    }

    #[test]
    fn the_user_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = user_key(folder.path(), true).unwrap();
        assert_eq!(user_key(folder.path(), true).unwrap(), key);
        let path = folder.path().join("user.key");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(user_key(folder.path(), true).unwrap_err().code(), 3);
    }

    #[tokio::test]
    async fn the_socket_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("recoup.sock");
        let _listener = bind_private(&socket).unwrap();
        assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(tokio::net::UnixStream::connect(&socket).await.is_ok());
    }
}
