//! From `SQLite`'s errors to those of the ports.

use recoup_store::StoreError;
use rusqlite::ErrorCode;

/// Name of the database file in the data folder.
pub(crate) const DATABASE_FILE: &str = "recoup.sqlite3";

/// Turns an error of `SQLite` into one of the port, given what was being done.
pub(crate) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| {
        if is_damage(&error) {
            return StoreError::Damaged {
                what: DATABASE_FILE.to_owned(),
                detail: format!("could not {doing}: {error}; restore the data folder from a backup"),
            };
        }
        StoreError::unavailable(doing, error)
    }
}

/// Whether the file itself is broken, so that trying again does not help.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// A stored value that cannot have been written by this program.
pub(crate) fn damaged(what: impl Into<String>, detail: impl Into<String>) -> StoreError {
    StoreError::Damaged { what: what.into(), detail: detail.into() }
}
