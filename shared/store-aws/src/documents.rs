//! Documents in a bucket: put on condition that nothing stands there, so that none is ever replaced (CLO-3).
//!
//! The bucket is versioned. With a lock each document is put with a mode and a date until which S3 itself lets nobody
//! remove it. Answers that are too large for a function's response lie below `answers/`: not documents, not locked, removed
//! by the bucket's own rules.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ObjectLockMode};
use aws_types::SdkConfig;
use recoup_store::{Documents, PutOutcome, StoreError};
use sha2::{Digest as _, Sha256};

use crate::client::s3_client;
use crate::failure::{Service, failed};
use crate::table::pause;

const WRITING: &str = "write a document";
const READING: &str = "read a document";
const LISTING: &str = "list documents";
const LINKING: &str = "make a link to a document";
const SHARING: &str = "keep an answer for its reader";

/// Where answers lie.
const ANSWERS: &str = "answers/";
/// Keys of one page of a list (S3's own limit).
const PAGE_KEYS_MAX: usize = 1000;
/// Attempts of a put that others' puts get in the way of.
const CONTENDED_ATTEMPTS_MAX: u32 = 8;
/// Seconds that a link holds at most (S3's own limit); a function's own credentials may end before.
const LINK_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
/// Seconds that a link to an answer holds.
const ANSWER_SECONDS: u64 = 15 * 60;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who may remove a locked document before its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has a permission of its own for that.
    Governance,
    /// Nobody, not even the owner of the account.
    Compliance,
}

/// How long documents are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentLock {
    /// Against whom.
    pub mode: LockMode,
    /// Days from the put.
    pub days: u32,
}

/// Where documents are.
#[derive(Clone, Debug)]
pub struct DocumentSettings {
    /// A versioned bucket.
    pub bucket: String,
    /// `None`: not locked. Otherwise the bucket was created with Object Lock.
    pub lock: Option<DocumentLock>,
}

/// A bucket of documents.
#[derive(Clone, Debug)]
pub struct S3Documents {
    client: aws_sdk_s3::Client,
    settings: DocumentSettings,
}

impl S3Documents {
    /// Documents in a bucket.
    #[must_use]
    pub fn new(settings: DocumentSettings, config: &SdkConfig) -> Self {
        Self::with_client(settings, s3_client(config))
    }

    /// The same over a client of your own.
    #[must_use]
    pub const fn with_client(settings: DocumentSettings, client: aws_sdk_s3::Client) -> Self {
        Self { client, settings }
    }

    /// Keeps an answer that is too large to be given directly, and gives a link to it that holds for 15 minutes. The same
    /// bytes are kept once.
    ///
    /// # Errors
    /// Whatever S3 says.
    pub async fn share(&self, bytes: Vec<u8>, content_type: &str) -> Result<String, StoreError> {
        let key = format!("{ANSWERS}{:x}", Sha256::digest(&bytes));
        let put = self.put(&key, bytes).content_type(content_type);
        put.send().await.map_err(failed(Service::S3, SHARING))?;
        self.presign(&key, ANSWER_SECONDS, SHARING).await
    }

    fn put(&self, key: &str, bytes: Vec<u8>) -> PutObjectFluentBuilder {
        let put = self.client.put_object().bucket(&self.settings.bucket).key(key);
        put.checksum_algorithm(ChecksumAlgorithm::Sha256).body(ByteStream::from(bytes))
    }

    fn locked(&self, put: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        let Some(lock) = self.settings.lock else { return put };
        let mode = match lock.mode {
            LockMode::Governance => ObjectLockMode::Governance,
            LockMode::Compliance => ObjectLockMode::Compliance,
        };
        let until = SystemTime::now().checked_add(DAY.saturating_mul(lock.days));
        // A date that no clock reaches is no date; S3 refuses the mode alone.
        put.object_lock_mode(mode).set_object_lock_retain_until_date(until.map(DateTime::from))
    }

    async fn presign(&self, key: &str, seconds: u64, doing: &'static str) -> Result<String, StoreError> {
        let holds = Duration::from_secs(seconds.clamp(1, LINK_SECONDS_MAX));
        let holds = PresigningConfig::expires_in(holds).map_err(|error| StoreError::unavailable(doing, error))?;
        let request = self.client.get_object().bucket(&self.settings.bucket).key(key).presigned(holds).await;
        Ok(request.map_err(failed(Service::S3, doing))?.uri().to_owned())
    }

    /// What stands at a key.
    async fn read(&self, key: &str, doing: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        let answer = match self.client.get_object().bucket(&self.settings.bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(failed(Service::S3, doing)(error)),
        };
        let bytes = answer.body.collect().await.map_err(|error| StoreError::unavailable(doing, error))?;
        Ok(Some(bytes.to_vec()))
    }
}

#[async_trait]
impl Documents for S3Documents {
    async fn put_once(&self, path: &str, bytes: Vec<u8>) -> Result<PutOutcome, StoreError> {
        check_path(path, WRITING)?;
        for attempt in 1..=CONTENDED_ATTEMPTS_MAX {
            let put = self.locked(self.put(path, bytes.clone()).if_none_match("*").content_type(content_type(path)));
            match put.send().await {
                Ok(_) => return Ok(PutOutcome::Written),
                Err(error) if is_occupied(&error) => {}
                Err(error) => return Err(failed(Service::S3, WRITING)(error)),
            }
            match self.read(path, WRITING).await? {
                Some(standing) if standing == bytes => return Ok(PutOutcome::Same),
                Some(_) => return Ok(PutOutcome::Different),
                // Somebody else's put is under way.
                None => pause(attempt).await,
            }
        }
        Err(StoreError::unavailable(WRITING, "S3: other writers kept getting in the way"))
    }

    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_path(path, READING)?;
        self.read(path, READING).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut found: Vec<String> = Vec::new();
        let mut token: Option<String> = None;
        while found.len() < limit {
            let wanted = limit.saturating_sub(found.len()).min(PAGE_KEYS_MAX);
            let call = self.client.list_objects_v2().bucket(&self.settings.bucket).prefix(prefix);
            let call = call.set_start_after(after.map(str::to_owned)).set_continuation_token(token.take());
            let answer = call.max_keys(i32::try_from(wanted).unwrap_or(1)).send().await;
            let answer = answer.map_err(failed(Service::S3, LISTING))?;
            let keys = answer.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
            found.extend(keys.filter(|key| !key.starts_with(ANSWERS)));
            token = answer.next_continuation_token.filter(|_| answer.is_truncated == Some(true));
            if token.is_none() {
                break;
            }
        }
        Ok(found)
    }

    async fn link(&self, path: &str, seconds: u64) -> Result<Option<String>, StoreError> {
        check_path(path, LINKING)?;
        self.presign(path, seconds, LINKING).await.map(Some)
    }
}

/// As strict as a folder has to be, so that a document of one deployment fits the other.
fn check_path(path: &str, doing: &'static str) -> Result<(), StoreError> {
    let is_allowed = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_allowed);
    if !path.split('/').all(is_segment) {
        let cause = format!("`{path}` has a segment that is empty, `.`, `..` or not made of A-Z a-z 0-9 . _ -");
        return Err(StoreError::unavailable(doing, cause));
    }
    if path.starts_with(ANSWERS) {
        return Err(StoreError::unavailable(doing, format!("`{path}` lies where answers are kept, not documents")));
    }
    Ok(())
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => "application/json",
        Some("csv") => "text/csv; charset=utf-8",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("pdf") => "application/pdf",
        Some("xlsx") => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Some("zip") => "application/zip",
        Some("zst") => "application/zstd",
        _ => "application/octet-stream",
    }
}

/// Something stands there, or somebody is just putting something there.
fn is_occupied<R>(error: &SdkError<PutObjectError, R>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    matches!(code, Some("PreconditionFailed" | "ConditionalRequestConflict"))
}

fn is_absence<R>(error: &SdkError<GetObjectError, R>) -> bool {
    error.as_service_error().is_some_and(|error| error.is_no_such_key() || error.code() == Some("NoSuchKey"))
}
