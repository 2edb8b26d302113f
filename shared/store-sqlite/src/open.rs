//! Opening a data folder: the lock, the checks, the tables.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::documents::{FolderDocuments, sync_folder};
use crate::failure::{DATABASE_FILE, is_damage};
use crate::readers::{Readers, STATEMENTS_MAX};
use crate::writer::Writer;

const LOCK_FILE: &str = "recoup.lock";
const DOCUMENTS_FOLDER: &str = "documents";
/// `rcup`: tells our file from other programs'.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"rcup");
/// Version of the tables; raised with each change to them.
const SCHEMA_VERSION: i32 = 6;
const SCHEMA: &str = include_str!("schema.sql");
/// The tables of live state, which came with version 3.
const LIVE_SCHEMA: &str = include_str!("live.sql");
/// The tables of leases, which came with version 4.
const LEASES_SCHEMA: &str = include_str!("leases.sql");
/// The books, which have lain so since version 6.
const BOOKS_SCHEMA: &str = include_str!("books.sql");
/// What brings the tables of version `k + 1` to the next version; a new folder has it all.
const UPGRADES: [&str; 5] = [
    "CREATE TABLE block_prints (
    block    INTEGER NOT NULL PRIMARY KEY,
    checksum INTEGER NOT NULL,
    prints   BLOB NOT NULL
) STRICT;",
    LIVE_SCHEMA,
    LEASES_SCHEMA,
    "ALTER TABLE books ADD COLUMN until_s INTEGER;",
    // What queries read of the facts of days is in another form now, and the next night makes it again; it is the most by far.
    // Views that somebody else has made stay as they are.
    concat!(
        "PRAGMA legacy_alter_table = ON;
DROP INDEX IF EXISTS books_until;
DROP VIEW IF EXISTS v_cells;
DROP VIEW v_books;
DROP VIEW v_task_prices;
DROP VIEW v_ledger;
DROP VIEW v_statements;
ALTER TABLE books RENAME TO books_of_5;
",
        include_str!("books.sql"),
        r#"INSERT INTO books ("partition", sort, version, until_s, value)
    SELECT "partition", sort, version, until_s, value FROM books_of_5
    WHERE "partition" NOT GLOB 'facts/*' OR (sort NOT GLOB '*/cells/*' AND sort NOT GLOB '*/users/*');
DROP TABLE books_of_5;
PRAGMA legacy_alter_table = OFF;"#
    ),
];
/// Only an SQL shell beside us can make us wait.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Kibibytes of pages that the writer keeps, as a negative number.
const CACHE_KIBIBYTES: i64 = -64 * 1024;
/// Pages of the write-ahead log (64 MiB) after which it is copied back: index pages are written many times between.
const CHECKPOINT_PAGES: i64 = 16_384;

/// How to open a data folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Lanes of the log, fixed when the folder is created. `None`: what the folder has, or one.
    pub lanes: Option<NonZeroU16>,
}

/// Why a data folder was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the data folder {} is in use by {}; stop that process, or send the command to it", folder.display(), process_name(*pid))]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// The process, where the lock file names it.
        pid: Option<u32>,
    },
    /// The file system refused.
    #[error("could not use {}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A newer release wrote the tables.
    #[error("{} has tables of version {found}, this release knows up to {known}; use a newer release", file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// A database, but of another program.
    #[error("{} is a database of another program; choose another data folder", file.display())]
    Foreign {
        /// The database.
        file: PathBuf,
    },
    /// The file is broken.
    #[error("{} is damaged: {detail}; restore the data folder from a backup", file.display())]
    Damaged {
        /// The database.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The number of lanes cannot change.
    #[error("the log was created with {has} lanes, not {wanted}; lanes are fixed, set `lanes` back to {has}")]
    LanesFixed {
        /// Lanes of the log.
        has: u16,
        /// Lanes asked for.
        wanted: u16,
    },
    /// `SQLite` refused.
    #[error("could not {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
}

fn process_name(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// A data folder, held by this process until the store is dropped. Dropping waits for the writes that were given.
#[derive(Debug)]
pub struct SqliteStore {
    pub(crate) writer: Writer,
    pub(crate) readers: Arc<Readers>,
    documents: FolderDocuments,
    lanes: u16,
    unused: bool,
    /// Dropped last: the lock ends when nobody writes any more.
    _lock: File,
}

impl SqliteStore {
    /// Opens a data folder, and creates it where there is none.
    ///
    /// # Errors
    /// Every [`OpenError`].
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Folder { path, source }
        };
        make_private(folder).map_err(at(folder))?;
        let lock = lock(folder)?;
        let file = folder.join(DATABASE_FILE);
        check_file(&file)?;
        let (connection, lanes) = connect(&file, options)?;
        let unused =
            is_unused(&connection).map_err(|source| OpenError::Database { doing: "look for records", source })?;
        sync_folder(folder).map_err(at(folder))?;
        let documents_folder = folder.join(DOCUMENTS_FOLDER);
        let documents = FolderDocuments::open(&documents_folder).map_err(at(&documents_folder))?;
        let writer = Writer::start(connection, lanes).map_err(at(folder))?;
        Ok(Self { writer, readers: Arc::new(Readers::new(file)), documents, lanes, unused, _lock: lock })
    }

    /// The documents beside the database.
    #[must_use]
    pub const fn documents(&self) -> &FolderDocuments {
        &self.documents
    }

    /// Lanes of the log: an event's lane is its trace fingerprint modulo this.
    #[must_use]
    pub const fn lanes(&self) -> u16 {
        self.lanes
    }

    /// Whether nothing had been recorded when the folder was opened.
    #[must_use]
    pub const fn was_unused(&self) -> bool {
        self.unused
    }
}

/// Makes a folder that there is not, for its owner only: every team's figures are in it.
fn make_private(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let at = |source| OpenError::Folder { path: path.clone(), source };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(at)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(at)?;
            return Err(OpenError::Locked { folder: folder.to_owned(), pid: pid.trim().parse().ok() });
        }
        Err(TryLockError::Error(source)) => return Err(at(source)),
    }
    file.set_len(0).map_err(at)?;
    file.rewind().map_err(at)?;
    writeln!(file, "{}", std::process::id()).map_err(at)?;
    Ok(file)
}

/// What every database file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Refuses a file that is no database, before `SQLite` takes a short one for an empty one. It finds a file that was cut
/// off itself; what is inside is checked when it is read, because a full check would take minutes.
fn check_file(path: &Path) -> Result<(), OpenError> {
    let at = |source| OpenError::Folder { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(error)),
    };
    let length = file.metadata().map_err(at)?.len();
    let mut magic = [0; MAGIC.len()];
    if length == 0 || (length >= 512 && file.read_exact(&mut magic).is_ok() && magic == *MAGIC) {
        return Ok(());
    }
    let detail = format!("its {length} bytes do not begin like a database");
    Err(OpenError::Damaged { file: path.to_owned(), detail })
}

fn connect(file: &Path, options: Options) -> Result<(Connection, u16), OpenError> {
    let while_doing = |doing: &'static str| {
        move |source: rusqlite::Error| {
            if is_damage(&source) {
                return OpenError::Damaged { file: file.to_owned(), detail: source.to_string() };
            }
            OpenError::Database { doing, source }
        }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags).map_err(while_doing("open the database"))?;
    check_owner(&connection, file).map_err(while_doing("read the database's version"))??;
    configure(&connection).map_err(while_doing("configure the database"))?;
    create_tables(&mut connection, options).map_err(while_doing("create the tables"))?;
    upgrade_tables(&mut connection).map_err(while_doing("bring the tables to this release's version"))?;
    let has = stored_lanes(&connection).map_err(while_doing("read the number of lanes"))?;
    match options.lanes.map(NonZeroU16::get) {
        Some(wanted) if wanted != has => Err(OpenError::LanesFixed { has, wanted }),
        _ => Ok((connection, has)),
    }
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

/// Whose database it is, before anything is written to it.
fn check_owner(connection: &Connection, file: &Path) -> rusqlite::Result<Result<(), OpenError>> {
    let owner = pragma(connection, "application_id")?;
    let found = pragma(connection, "user_version")?;
    if owner != APPLICATION_ID {
        let is_new = owner == 0 && found == 0 && !has_tables(connection)?;
        return Ok(if is_new { Ok(()) } else { Err(OpenError::Foreign { file: file.to_owned() }) });
    }
    if found > SCHEMA_VERSION {
        return Ok(Err(OpenError::Newer { file: file.to_owned(), found, known: SCHEMA_VERSION }));
    }
    Ok(Ok(()))
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", CACHE_KIBIBYTES)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// All tables in one transaction, so that a folder has them all or is still new.
fn create_tables(connection: &mut Connection, options: Options) -> rusqlite::Result<()> {
    if has_tables(connection)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute_batch(LIVE_SCHEMA)?;
    transaction.execute_batch(LEASES_SCHEMA)?;
    transaction.execute_batch(BOOKS_SCHEMA)?;
    let lanes = options.lanes.map_or(1, NonZeroU16::get);
    transaction.execute("INSERT INTO meta (name, value) VALUES ('lanes', ?1)", params![lanes.to_string()])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// Every step that the file has not seen, in one transaction. What older tables lack, and what a step leaves out, is derived
/// data.
fn upgrade_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let found = pragma(connection, "user_version")?;
    if found >= SCHEMA_VERSION {
        return Ok(());
    }
    tracing::warn!(found, "the tables are brought to version {SCHEMA_VERSION}; large books take a while, once");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seen = usize::try_from(found).unwrap_or_default().saturating_sub(1);
    for step in UPGRADES.iter().skip(seen) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

fn is_unused(connection: &Connection) -> rusqlite::Result<bool> {
    let query = "SELECT NOT EXISTS (SELECT 1 FROM blocks) AND NOT EXISTS (SELECT 1 FROM books)";
    connection.query_row(query, [], |row| row.get(0))
}

fn stored_lanes(connection: &Connection) -> rusqlite::Result<u16> {
    connection.query_row("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'lanes'", [], |row| row.get(0))
}
