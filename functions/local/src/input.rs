//! Files as they come: plain, gzip or zstd by their extension, or standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::Failure;

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// Largest file that is read as a whole.
const WHOLE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file that is being read.
pub(crate) struct Input {
    /// Its content, decompressed.
    pub(crate) reader: Box<dyn BufRead + Send>,
    /// Bytes read of the file itself so far.
    pub(crate) read: Arc<AtomicU64>,
    /// Bytes of the file itself, where they are known.
    pub(crate) total: Option<u64>,
}

struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.read.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(bytes)
    }
}

/// Opens a file, or standard input for `-`.
///
/// # Errors
/// [`Failure::Usage`] when there is no such file.
pub(crate) fn open(path: &Path) -> Result<Input, Failure> {
    let read = Arc::new(AtomicU64::new(0));
    if path == Path::new("-") {
        let counted = Counted { inner: io::stdin(), read: Arc::clone(&read) };
        return Ok(Input { reader: Box::new(BufReader::with_capacity(BUFFER_BYTES, counted)), read, total: None });
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let total = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    let counted = Counted { inner: file, read: Arc::clone(&read) };
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let reader: Box<dyn BufRead + Send> = match extension {
        "gz" => Box::new(BufReader::with_capacity(BUFFER_BYTES, flate2::read::MultiGzDecoder::new(counted))),
        "zst" | "zstd" => {
            let decoder = zstd::Decoder::new(counted).map_err(|error| unreadable(path, &error))?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        }
        _ => Box::new(BufReader::with_capacity(BUFFER_BYTES, counted)),
    };
    Ok(Input { reader, read, total })
}

/// A small file as a whole, or standard input for `-`.
///
/// # Errors
/// [`Failure::Usage`] when there is no such file or it is too large.
pub(crate) fn whole(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut input = open(path)?.reader.take(WHOLE_BYTES_MAX.saturating_add(1));
    input.read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > WHOLE_BYTES_MAX {
        return Err(Failure::usage(format!("`{}` has more than {WHOLE_BYTES_MAX} bytes", path.display())));
    }
    Ok(bytes)
}

/// A small text file.
///
/// # Errors
/// [`Failure::Usage`] when there is no such file, it is too large or no UTF-8.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(whole(path)?).map_err(|_| Failure::usage(format!("`{}` is not UTF-8", path.display())))
}

/// The failure to read a file.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("could not read `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::io::{Read as _, Write as _};
    use std::sync::atomic::Ordering;

    use super::{open, text};

    #[test]
    fn compressed_files_are_read_by_their_extension() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("a.ndjson");
        std::fs::write(&plain, "hello\n").unwrap();
        let gz = folder.path().join("a.ndjson.gz");
        let mut encoder =
            flate2::write::GzEncoder::new(std::fs::File::create(&gz).unwrap(), flate2::Compression::fast());
        encoder.write_all(b"hello\n").unwrap();
        encoder.finish().unwrap();
        let zst = folder.path().join("a.ndjson.zst");
        std::fs::write(&zst, zstd::encode_all(&b"hello\n"[..], 1).unwrap()).unwrap();
        for path in [&plain, &gz, &zst] {
            let mut input = open(path).unwrap();
            let mut found = String::new();
            input.reader.read_to_string(&mut found).unwrap();
            assert_eq!(found, "hello\n", "{}", path.display());
            assert_eq!(Some(input.read.load(Ordering::Relaxed)), input.total);
        }
    }

    #[test]
    fn a_missing_file_is_wrong_usage_and_named() {
        let failure = text(std::path::Path::new("nowhere/recoup.toml")).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains("nowhere/recoup.toml"));
    }
}
