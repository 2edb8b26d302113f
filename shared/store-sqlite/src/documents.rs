//! Documents in a folder: written beside, synced, then linked into place, so that a reader sees all of a document or
//! nothing, and no document is ever replaced (CLO-3).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use recoup_store::{Documents, PutOutcome, StoreError};

/// Begins the names of files that are being written; `~` is in no document's path.
const INCOMING: &str = "~incoming-";

/// A folder of documents. Cloning shares it.
#[derive(Clone, Debug)]
pub struct FolderDocuments {
    root: PathBuf,
    written: Arc<AtomicU64>,
}

impl FolderDocuments {
    /// Opens a folder, creates it where there is none, and removes what an interrupted write left. One process at a
    /// time; [`crate::SqliteStore::open`] sees to that for the data folder.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        create_folders(&root)?;
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(INCOMING) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { root, written: Arc::default() })
    }

    fn resolve(&self, path: &str, doing: &'static str) -> Result<PathBuf, StoreError> {
        if path.split('/').all(is_segment) {
            return Ok(self.root.join(path));
        }
        let cause = format!("`{path}` has a segment that is empty, `.`, `..` or not made of A-Z a-z 0-9 . _ -");
        Err(StoreError::unavailable(doing, cause))
    }

    fn incoming(&self) -> PathBuf {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        self.root.join(format!("{INCOMING}{}-{number}", std::process::id()))
    }
}

fn is_segment(segment: &str) -> bool {
    let is_allowed = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(is_allowed)
}

#[async_trait]
impl Documents for FolderDocuments {
    async fn put_once(&self, path: &str, bytes: Vec<u8>) -> Result<PutOutcome, StoreError> {
        const DOING: &str = "write a document";
        let target = self.resolve(path, DOING)?;
        let incoming = self.incoming();
        blocking(DOING, move || put_once(&target, &incoming, &bytes)).await
    }

    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        const DOING: &str = "read a document";
        let target = self.resolve(path, DOING)?;
        blocking(DOING, move || match fs::read(&target) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let listing = Listing {
            root: self.root.clone(),
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            limit,
            found: BTreeSet::new(),
        };
        blocking("list documents", move || listing.run()).await
    }
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|stopped| StoreError::unavailable(doing, stopped))?;
    done.map_err(|error| StoreError::unavailable(doing, error))
}

/// Nothing there, a folder there, or a document where a folder would have to be.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory)
}

fn put_once(target: &Path, incoming: &Path, bytes: &[u8]) -> io::Result<PutOutcome> {
    let folder = target.parent().unwrap_or(target);
    create_folders(folder)?;
    let result = write_synced(incoming, bytes).and_then(|()| link(incoming, target, bytes));
    // The document stands under its own name by now, or the write failed and its error matters more.
    drop(fs::remove_file(incoming));
    let outcome = result?;
    // Also for `Same`: whoever linked it may not have synced the folder yet.
    sync_folder(folder)?;
    Ok(outcome)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A hard link never replaces, unlike a rename.
fn link(incoming: &Path, target: &Path, bytes: &[u8]) -> io::Result<PutOutcome> {
    match fs::hard_link(incoming, target) {
        Ok(()) => Ok(PutOutcome::Written),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let standing = fs::read(target)?;
            Ok(if standing == bytes { PutOutcome::Same } else { PutOutcome::Different })
        }
        Err(error) => Err(error),
    }
}

/// Creates a folder and those above it, each of them durably.
fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(folder);
    if above != folder {
        create_folders(above)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(above),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

/// The smallest paths of a prefix, found by walking its folder.
struct Listing {
    root: PathBuf,
    prefix: String,
    after: Option<String>,
    limit: usize,
    found: BTreeSet<String>,
}

impl Listing {
    fn run(mut self) -> io::Result<Vec<String>> {
        let folder = self.prefix.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        if folder.is_empty() || folder.split('/').all(is_segment) {
            self.walk(&folder)?;
        }
        Ok(self.found.into_iter().collect())
    }

    fn walk(&mut self, folder: &str) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if is_absence(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_segment(&name) {
                continue;
            }
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if !entry.file_type()?.is_dir() {
                self.keep(path);
            } else if format!("{path}/").starts_with(&self.prefix) || self.prefix.starts_with(&path) {
                self.walk(&path)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, path: String) {
        let is_before = self.after.as_ref().is_some_and(|after| path <= *after);
        if is_before || !path.starts_with(&self.prefix) {
            return;
        }
        self.found.insert(path);
        if self.found.len() > self.limit {
            self.found.pop_last();
        }
    }
}
