//! The AWS adapter: event log, live state and books in DynamoDB, documents in S3, alerts through SNS, e-mail through SES, dead letters
//! in SQS, secrets from Secrets Manager.
//!
//! Owns: how the ports' records are laid out in two tables and a bucket, and what AWS's limits, refusals and retries mean
//! for a port. Does not own: what the records mean; the tables, the bucket and the topic themselves (the template does).
//! Invariants: EVT-2 (an acknowledged event is stored), CLO-3 (a document is written once), BUD-1 (a counter changes with the
//! traces that it follows from, or not at all), BUD-3 (room is taken at every counter of a chain, or at none).
//! Does not promise: an order between processes, beyond what a condition on a record or a block number says.
//! Start reading at [`AwsStore::open`], then `table`; what the emulators check of it stands in the README beside this crate.

mod alerts;
mod books;
mod change;
mod client;
mod counters;
mod dead_letters;
mod documents;
mod failure;
mod gather;
mod keys;
mod lease_items;
mod leases;
mod live;
mod log;
mod mail;
mod meter;
mod numbers;
mod open;
mod packed;
mod remembered;
mod responses;
mod secret;
mod table;
mod uncounted;

pub use alerts::SnsAlerts;
pub use client::{ConfigError, config_of, dynamodb_client, load_config, s3_client, sns_client, sqs_client};
pub use dead_letters::{DeadLetter, DeadLetters};
pub use documents::{DocumentLock, DocumentSettings, LockMode, S3Documents};
pub use keys::block_name;
pub use mail::SesMail;
pub use meter::{Meter, Usage};
pub use open::{AwsStore, OpenError, Settings};
pub use secret::read_secret;
