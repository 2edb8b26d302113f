//! The one-machine adapter: event log and books in one `SQLite` file, documents in a folder beside it.
//!
//! Owns: the data folder (`recoup.sqlite3`, `recoup.lock`, `documents/`), the tables in it, and the one thread that
//! writes them. Does not own: what the records mean, or which process may send commands to the one that holds the lock.
//! Invariants: EVT-2 (first recorded stays; an acknowledged event is on disk), CLO-3 (a document is written once).
//! Does not promise: two processes on one folder (the second gets [`OpenError::Locked`]), or a network file system.
//! Start reading at [`SqliteStore::open`], then `writer`.

mod append;
mod books;
mod days;
mod documents;
mod failure;
mod leases;
mod live;
mod log;
mod open;
mod prints;
mod readers;
mod responses;
mod together;
mod writer;

pub use documents::FolderDocuments;
pub use open::{OpenError, Options, SqliteStore};
