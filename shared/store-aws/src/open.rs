//! The store on two tables, and what a log remembers of how it was created.

use std::num::NonZeroU16;
use std::sync::Arc;

use aws_types::SdkConfig;
use recoup_store::StoreError;

use crate::change::{Change, Item, binary, damaged, item_key, number, read_binary, read_number};
use crate::client::dynamodb_client;
use crate::meter::Meter;
use crate::remembered::Remembered;
use crate::table::{Applied, Table};

/// Bytes of the key that pseudonyms of users are made with.
pub(crate) const USER_KEY_BYTES: usize = 32;

const OPENING: &str = "open the store";
/// Where the number of lanes stands.
const LANES: (&str, &str) = ("@settings", "lanes");
/// Where the key of pseudonyms stands.
const USER_KEY: (&str, &str) = ("@secret", "users");

/// Where a store is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The table of blocks, with the keys `pk` and `sk` (texts).
    pub events_table: String,
    /// The table of everything else, with the same keys.
    pub books_table: String,
    /// Lanes of the log, fixed when it is first opened. `None`: what it has, or one.
    pub lanes: Option<NonZeroU16>,
}

impl Settings {
    /// Two tables, and what is usual.
    pub fn new(events_table: impl Into<String>, books_table: impl Into<String>) -> Self {
        Self { events_table: events_table.into(), books_table: books_table.into(), lanes: None }
    }
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log has other lanes than were asked for.
    #[error(
        "the log was created with {created} lanes, not {asked}; lanes are fixed, set RECOUP_LANES back to {created}"
    )]
    Lanes {
        /// What it was created with.
        created: u16,
        /// What was asked for.
        asked: u16,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Event log, live state and books in `DynamoDB`. Cheap to share behind an [`Arc`]; any number of processes may open it.
#[derive(Debug)]
pub struct AwsStore {
    pub(crate) events: Table,
    pub(crate) books: Table,
    pub(crate) lanes: u16,
    pub(crate) remembered: Remembered,
    user_key: AtOpening,
    meter: Arc<Meter>,
}

/// The item of the key of pseudonyms as it stood when the store was opened, which nobody prints.
struct AtOpening(Option<Item>);

impl std::fmt::Debug for AtOpening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtOpening")
    }
}

impl AwsStore {
    /// Opens a store. Costs one call that reads what [`AwsStore::user_key`] gives as well, at the very first opening one
    /// write too.
    ///
    /// # Errors
    /// [`OpenError::Lanes`] where other lanes are asked for than the log was created with; whatever `DynamoDB` says.
    pub async fn open(settings: Settings, config: &SdkConfig) -> Result<Self, OpenError> {
        Self::with_client(settings, dynamodb_client(config)).await
    }

    /// The same over a client of your own.
    ///
    /// # Errors
    /// As [`AwsStore::open`].
    pub async fn with_client(settings: Settings, client: aws_sdk_dynamodb::Client) -> Result<Self, OpenError> {
        let meter = Arc::new(Meter::default());
        let table = |name| Table::new(client.clone(), name, Arc::clone(&meter));
        let [events, books] = [settings.events_table, settings.books_table].map(table);
        let wanted = [LANES, USER_KEY].map(|(partition, sort)| (partition.to_owned(), sort.to_owned()));
        let mut found = books.get_all(OPENING, &wanted).await?.into_iter();
        let standing = found.next().flatten();
        let lanes = fixed_lanes(&books, standing, settings.lanes).await?;
        let user_key = AtOpening(found.next().flatten());
        Ok(Self { events, books, lanes, remembered: Remembered::default(), user_key, meter })
    }

    /// Lanes of the log.
    #[must_use]
    pub const fn lanes(&self) -> u16 {
        self.lanes
    }

    /// What its calls cost.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The key that pseudonyms of users are made with; the first caller's is kept for good.
    ///
    /// # Errors
    /// Whatever `DynamoDB` says, and [`StoreError::Damaged`] for a key of another length.
    pub async fn user_key(&self) -> Result<[u8; USER_KEY_BYTES], StoreError> {
        const DOING: &str = "read the key of pseudonyms";
        let key = item_key(USER_KEY.0, USER_KEY.1);
        let mut item = self.user_key.0.clone();
        if item.is_none() {
            let mut fresh = [0; USER_KEY_BYTES];
            getrandom::fill(&mut fresh).map_err(|error| StoreError::unavailable(DOING, error.to_string()))?;
            let mut first = key.clone();
            first.insert("b".to_owned(), binary(fresh));
            // Whoever comes first wins; all others read what stands then.
            self.books.apply(DOING, &Change::put(first).when("attribute_not_exists(pk)")).await?;
            item = self.books.get(DOING, &key).await?;
        }
        let item = item.unwrap_or(key);
        let bytes = read_binary(&item, "b").and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| damaged(&item, format!("a key of {USER_KEY_BYTES} bytes is missing")))
    }
}

/// What the log was created with; the first opener decides.
async fn fixed_lanes(books: &Table, mut standing: Option<Item>, asked: Option<NonZeroU16>) -> Result<u16, OpenError> {
    let key = item_key(LANES.0, LANES.1);
    if standing.is_none() {
        let first = asked.map_or(1, NonZeroU16::get);
        let mut item = key;
        item.insert("n".to_owned(), number(first));
        match books.apply(OPENING, &Change::put(item).when("attribute_not_exists(pk)")).await? {
            Applied::Done => return Ok(first),
            Applied::Refused(by) => standing = Some(by.unwrap_or_default()),
        }
    }
    let item = standing.unwrap_or_default();
    let created: NonZeroU16 =
        read_number(&item, "n").ok_or_else(|| damaged(&item, "the number of lanes is missing"))?;
    match asked {
        Some(asked) if asked != created => Err(OpenError::Lanes { created: created.get(), asked: asked.get() }),
        _ => Ok(created.get()),
    }
}
