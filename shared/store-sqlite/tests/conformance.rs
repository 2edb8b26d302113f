//! The behaviours of the ports, shown by this adapter.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use recoup_store::{Books, Documents, EventLog, Live};
use recoup_store_sqlite::{Options, SqliteStore};
use tempfile::TempDir;

fn open() -> (TempDir, Arc<SqliteStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), Options::default()).unwrap();
    (folder, Arc::new(store))
}

mod event_log {
    use super::*;

    fn open_log() -> (TempDir, Arc<dyn EventLog>) {
        let (folder, store) = open();
        (folder, store)
    }

    recoup_store::event_log_conformance!(open_log);
    recoup_store::event_log_identity_conformance!(open_log);
}

mod books {
    use super::*;

    fn open_books() -> (TempDir, Arc<dyn Books>) {
        let (folder, store) = open();
        (folder, store)
    }

    recoup_store::books_conformance!(open_books);
}

mod live {
    use super::*;

    fn open_live() -> (TempDir, Arc<dyn Live>) {
        let (folder, store) = open();
        (folder, store)
    }

    recoup_store::live_conformance!(open_live);
}

mod leases {
    use recoup_store::conformance::leases::Both;

    use super::*;

    fn open_both() -> (TempDir, Both) {
        let (folder, store) = open();
        (folder, (store.clone(), store))
    }

    recoup_store::leases_conformance!(open_both);
}

mod documents {
    use super::*;

    /// The folder stays locked while the documents are used.
    fn open_documents() -> ((TempDir, Arc<SqliteStore>), Arc<dyn Documents>) {
        let (folder, store) = open();
        let documents = Arc::new(store.documents().clone());
        ((folder, store), documents)
    }

    recoup_store::documents_conformance!(open_documents);
}
