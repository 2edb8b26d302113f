//! The application: ports, and what is kept in memory between requests because it changes seldom.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use recoup_model::Organisation;
use recoup_model::organisation::History;
use recoup_model::period::format_instant;
use recoup_pricing::{Catalogue, PriceBook};
use recoup_store::{Alerts, Books, Clock, Documents, EventLog, Leases, Live, causes};

use crate::access::{AdminKey, KeyRecord};
use crate::alerts::Told;
use crate::authorize::limits::Approved;
use crate::authorize::{Chains, Desk};
use crate::budgets::Rolled;
use crate::error::Refusal;
use crate::facts::{FactsCache, FreshFacts};
use crate::nightly::DecodedBlocks;
use crate::people::Pseudonyms;
use crate::runs::Runs;
use crate::watch::Quiet;
use crate::weekly::Weekly;
use crate::{catalogue, organisation};

/// How long what other processes change may go unnoticed: organisation files, prices, keys.
const REMEMBERED_NS: i64 = 10_000_000_000;
/// How long it is looked whether they did.
pub(crate) const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// Keys remembered between requests; beyond it the memory is emptied.
const KEYS_REMEMBERED_MAX: usize = 1_000;

/// What the application stands on.
#[derive(Clone)]
pub struct Ports {
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// Traces in progress and counters.
    pub live: Arc<dyn Live>,
    /// Room of budgets that is set aside.
    pub leases: Arc<dyn Leases>,
    /// The books.
    pub books: Arc<dyn Books>,
    /// Documents.
    pub documents: Arc<dyn Documents>,
    /// Where alerts go.
    pub alerts: Arc<dyn Alerts>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What figures are made with: organisation versions and prices, as of now.
pub struct World {
    /// Organisation versions with people under their pseudonyms.
    pub history: History,
    /// Catalogue, imported and own prices.
    pub prices: Arc<PriceBook>,
    /// Every catalogue, in layers in order of precedence: the shipped one, then the imported lists.
    pub catalogues: Vec<Vec<Arc<Catalogue>>>,
}

impl World {
    /// The imported lists, oldest first. Of a closed month's world: those that its close knew.
    #[must_use]
    pub fn imported(&self) -> &[Arc<Catalogue>] {
        self.catalogues.get(1).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Every workflow is a method of the application.
pub struct App {
    /// What it stands on.
    pub ports: Ports,
    /// Users to pseudonyms.
    pub pseudonyms: Pseudonyms,
    /// Lanes of the event log.
    pub lanes: u16,
    /// See [`App::shipped`].
    shipped: OnceLock<Arc<Catalogue>>,
    pub(crate) facts_cache: FactsCache,
    pub(crate) fresh_facts: FreshFacts,
    pub(crate) decoded: DecodedBlocks,
    pub(crate) runs: Runs,
    pub(crate) rolled: Rolled,
    /// Leases that this process draws from in memory.
    pub(crate) desk: Desk,
    /// Which limits apply to whom.
    pub(crate) chains: Chains,
    /// Held while room is being granted.
    pub(crate) granting: tokio::sync::Mutex<()>,
    /// Keeps the leases of this process apart from those of one that ended.
    pub(crate) nonce: u64,
    pub(crate) approved: Approved,
    pub(crate) quiet: Quiet,
    pub(crate) weekly: Weekly,
    /// Alerts that are known to be told.
    pub(crate) told: Told,
    /// Whether nothing of earlier releases is left to adopt.
    pub(crate) adopted: AtomicBool,
    /// Woken when something was decided that others are to be told of.
    pub(crate) decided: tokio::sync::Notify,
    /// Whether other processes work on the same books.
    pub(crate) sharing: bool,
    /// How long somebody waits for leave to begin.
    pub(crate) authorize_within: Option<Duration>,
    /// The time zone that somebody else's schedules start nights and closes by.
    pub(crate) scheduled_in: Option<String>,
    pub(crate) admin: Option<AdminKey>,
    /// Grows with each change; what was read before a change is not remembered after it.
    changes: AtomicU64,
    /// With when it was read, or found to be as it was read.
    world: RwLock<Option<(Arc<World>, i64)>>,
    /// With when each was read.
    keys: Mutex<BTreeMap<String, (Arc<KeyRecord>, i64)>>,
}

impl App {
    /// The same with another catalogue than the one that comes with this release.
    #[must_use]
    pub fn with_catalogue(ports: Ports, user_key: [u8; 32], lanes: u16, shipped: Catalogue) -> Self {
        Self { shipped: OnceLock::from(Arc::new(shipped)), ..Self::new(ports, user_key, lanes) }
    }

    /// An application over some ports. `user_key` makes pseudonyms; `lanes` is what the log was created with.
    #[must_use]
    pub fn new(ports: Ports, user_key: [u8; 32], lanes: u16) -> Self {
        Self {
            ports,
            pseudonyms: Pseudonyms::new(user_key),
            lanes,
            shipped: OnceLock::new(),
            facts_cache: FactsCache::default(),
            fresh_facts: FreshFacts::default(),
            decoded: DecodedBlocks::default(),
            runs: Runs::default(),
            rolled: Rolled::default(),
            desk: Desk::default(),
            chains: Chains::default(),
            granting: tokio::sync::Mutex::new(()),
            nonce: getrandom::u64().unwrap_or_default(),
            approved: Approved::default(),
            quiet: Quiet::default(),
            weekly: Weekly::default(),
            told: Told::default(),
            adopted: AtomicBool::new(false),
            decided: tokio::sync::Notify::new(),
            sharing: false,
            authorize_within: None,
            scheduled_in: None,
            admin: None,
            changes: AtomicU64::new(0),
            world: RwLock::new(None),
            keys: Mutex::new(BTreeMap::new()),
        }
    }

    /// The same where other processes work on the same books: the turn of nights and closes is a lease in the books that
    /// somebody else may hold, and how far a run is stands there and not in this process.
    #[must_use]
    pub fn sharing(mut self, sharing: bool) -> Self {
        self.sharing = sharing;
        self
    }

    /// The same where whoever asks for leave to begin is answered in time: after that a budget counts as one that cannot be
    /// read (BUD-5).
    #[must_use]
    pub fn answering_within(mut self, time: Duration) -> Self {
        self.authorize_within = Some(time);
        self
    }

    /// The same where schedules outside start nights and closes, by the clocks of this IANA time zone: whoever applies an
    /// organisation file of another one is told.
    #[must_use]
    pub fn scheduled_in(mut self, time_zone: Option<&str>) -> Self {
        self.scheduled_in = time_zone.map(str::to_owned);
        self
    }

    /// The same with a key of the role `admin` that stands in no books: the first one of a deployment. `digest_hex` is the
    /// SHA-256 of its secret part, as `recoup keys make-admin` prints it.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for an id or a digest that no key can have.
    pub fn with_admin_key(mut self, id: &str, digest_hex: &str) -> Result<Self, Refusal> {
        self.admin = Some(AdminKey::new(id, digest_hex)?);
        Ok(self)
    }

    pub(crate) fn books(&self) -> &dyn Books {
        self.ports.books.as_ref()
    }

    pub(crate) fn now_ns(&self) -> i64 {
        self.ports.clock.now_ns()
    }

    pub(crate) fn now_text(&self) -> String {
        format_instant(self.now_ns())
    }

    /// The catalogue that comes with this release. It is read when something is first priced: a function that prices nothing
    /// starts without it.
    pub(crate) fn shipped(&self) -> Result<&Arc<Catalogue>, Refusal> {
        if let Some(shipped) = self.shipped.get() {
            return Ok(shipped);
        }
        let shipped = Catalogue::shipped().map_err(|error| Refusal::computation("read the catalogue", error))?;
        Ok(self.shipped.get_or_init(|| Arc::new(shipped)))
    }

    /// Organisation versions and prices as of now; refused until an organisation file was applied.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] without an organisation file.
    pub async fn world(&self) -> Result<Arc<World>, Refusal> {
        let changes = self.changes.load(Ordering::SeqCst);
        let remembered = self.world.read().ok().and_then(|world| world.clone());
        match remembered {
            Some((world, seen_ns)) if !self.is_stale(seen_ns) => Ok(world),
            remembered => Box::pin(self.world_anew(remembered.map(|(world, _)| world), changes)).await,
        }
    }

    /// What was read of it last, however long ago.
    pub(crate) fn known_world(&self) -> Option<Arc<World>> {
        self.world.read().ok()?.as_ref().map(|(world, _)| Arc::clone(world))
    }

    /// The world that was known, where nobody has changed it since, else another one.
    async fn world_anew(&self, known: Option<Arc<World>>, changes: u64) -> Result<Arc<World>, Refusal> {
        if let Some(world) = known
            && self.still_holds(&world).await
        {
            self.remember_world(&world, changes);
            return Ok(world);
        }
        let history = organisation::load(self.books(), &self.pseudonyms);
        let (history, imported) = tokio::try_join!(history, catalogue::load(self.books()))?;
        let history = history.ok_or_else(|| Refusal::Conflict {
            kind: "no-organisation",
            detail: "no organisation file was applied yet; run `recoup apply recoup.toml`".into(),
        })?;
        let catalogues = vec![vec![Arc::clone(self.shipped()?)], imported];
        let prices = PriceBook::of_layers(&catalogues, &history)
            .map_err(|error| Refusal::computation("put the prices together", error))?;
        let world = Arc::new(World { history, prices: Arc::new(prices), catalogues });
        self.remember_world(&world, changes);
        Ok(world)
    }

    /// What was read after `changes` changes, unless there were more meanwhile.
    fn remember_world(&self, world: &Arc<World>, changes: u64) {
        if let Ok(mut remembered) = self.world.write()
            && self.changes.load(Ordering::SeqCst) == changes
        {
            *remembered = Some((Arc::clone(world), self.now_ns()));
        }
    }

    /// Whether others may have changed what was read then.
    fn is_stale(&self, read_ns: i64) -> bool {
        self.sharing && self.now_ns().saturating_sub(read_ns) >= REMEMBERED_NS
    }

    /// Whether no process has applied a file or imported prices since. While that cannot be read what is known holds.
    async fn still_holds(&self, world: &World) -> bool {
        let look = async {
            let versions = organisation::digests(self.books()).await?;
            let imports = self.imports().await?;
            let ours = world.history.versions().iter().map(|version| version.digest);
            Ok::<_, Refusal>(ours.eq(versions) && world.imported().len() == imports.len())
        };
        match tokio::time::timeout(LOOK_WITHIN, look).await {
            Ok(Ok(holds)) => holds,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = causes(&error),
                    "it cannot be seen whether the organisation file is another one"
                );
                true
            }
            Err(_) => true,
        }
    }

    pub(crate) fn forget_world(&self) {
        if let Ok(mut world) = self.world.write() {
            self.changes.fetch_add(1, Ordering::SeqCst);
            *world = None;
        }
    }

    /// The organisation version in force now.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] without an organisation file.
    pub async fn organisation_today(&self) -> Result<Arc<Organisation>, Refusal> {
        let world = self.world().await?;
        let today = world.history.calendar().day_of(self.now_ns());
        Ok(Arc::clone(&world.history.on(today).organisation))
    }

    pub(crate) fn cached_key(&self, id: &str) -> Option<Arc<KeyRecord>> {
        let keys = self.keys.lock().ok()?;
        keys.get(id).filter(|(_, read_ns)| !self.is_stale(*read_ns)).map(|(record, _)| Arc::clone(record))
    }

    /// The same however long ago it was read.
    pub(crate) fn known_key(&self, id: &str) -> Option<Arc<KeyRecord>> {
        self.keys.lock().ok()?.get(id).map(|(record, _)| Arc::clone(record))
    }

    /// How many changes there were: to be read before a key is, and passed on with it.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub(crate) fn cache_key(&self, record: Arc<KeyRecord>, changes: u64) {
        if let Ok(mut keys) = self.keys.lock()
            && self.changes() == changes
        {
            if keys.len() >= KEYS_REMEMBERED_MAX {
                keys.clear();
            }
            keys.insert(record.id.clone(), (record, self.now_ns()));
        }
    }

    pub(crate) fn forget_keys(&self) {
        if let Ok(mut keys) = self.keys.lock() {
            self.changes.fetch_add(1, Ordering::SeqCst);
            keys.clear();
        }
    }
}
