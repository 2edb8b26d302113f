//! Block codec: events per second and core, bytes per event, on events of `recoup sample`.

use std::error::Error;
use std::fs;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use recoup_metering::{Rules, Shape, read_events};
use recoup_model::digest::{Identities, content_digest};
use recoup_model::limits::{BLOCK_EVENTS_MAX, REQUEST_EVENTS_MAX};
use recoup_model::{Identity, Origin, Recorded};
use recoup_store::block::columns::{read_checked_columns, read_columns};
use recoup_store::block::prints::{Print, print_of};
use recoup_store::block::{self, BlockError, EncodedBlock};
use recoup_store::{EventLog as _, Incoming, StoreError};
use recoup_store_sqlite::{Options, SqliteStore};

const ROUNDS: usize = 5;
/// Cores that read the store.
const THREADS: usize = 2;
/// Blocks that a thread asks the store for at once.
const BLOCKS_PER_READ: usize = 16;
/// Events appended at once.
const EVENTS_PER_APPEND: usize = 16_384;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: blocks FILE.ndjson [EVENTS_PER_BLOCK]")?;
    let per_block = std::env::args().nth(2).map_or(Ok(BLOCK_EVENTS_MAX), |count| count.parse())?;
    let events = read(&fs::read_to_string(path)?)?;
    let groups: Vec<&[Recorded]> = events.chunks(per_block).collect();
    let mut best = Best { prints: u128::MAX, encode: u128::MAX, columns: u128::MAX, decode: u128::MAX };
    let mut bytes = 0_usize;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut identities = Identities::default();
        let prints: usize = events.iter().map(|recorded| usize::from(print(&mut identities, recorded)[0])).sum();
        best.prints = best.prints.min(started.elapsed().as_nanos());
        std::hint::black_box(prints);
        let started = Instant::now();
        let encoded = groups.iter().map(|group| block::encode(group)).collect::<Result<Vec<_>, _>>()?;
        best.encode = best.encode.min(started.elapsed().as_nanos());
        bytes = encoded.iter().map(|block| block.bytes.len()).sum();
        best.columns = best.columns.min(timed(&encoded, events.len(), |bytes| Ok(read_columns(bytes)?.len))?);
        best.decode = best.decode.min(timed(&encoded, events.len(), |bytes| Ok(block::decode(bytes)?.len()))?);
    }
    let stored = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).build()?;
    let stored = stored.block_on(from_store(&events))?;
    let per_second =
        |nanos: u128| u128::try_from(events.len()).unwrap_or(0).saturating_mul(1_000_000_000) / nanos.max(1);
    println!(
        "{}",
        serde_json::json!({
            "bench": "blocks", "events": events.len(), "prints_events_s": per_second(best.prints), "encode_events_s": per_second(best.encode),
            "columns_events_s": per_second(best.columns), "decode_events_s": per_second(best.decode),
            "store_threads": THREADS, "store_columns_events_s": per_second(stored.columns),
            "store_prints_events_s": per_second(stored.prints),
            "bytes_per_event_x100": bytes * 100 / events.len().max(1),
        })
    );
    Ok(())
}

/// Nanoseconds of the best round.
struct Best {
    prints: u128,
    encode: u128,
    columns: u128,
    decode: u128,
}

/// Nanoseconds of the best round of reading a whole store.
struct Stored {
    columns: u128,
    prints: u128,
}

/// Stores the events, then reads all blocks, and all prints, with some threads.
async fn from_store(events: &[Recorded]) -> Result<Stored, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = Arc::new(SqliteStore::open(folder.path(), Options::default())?);
    for part in events.chunks(EVENTS_PER_APPEND) {
        let incoming = |recorded: &Recorded| Incoming {
            recorded: recorded.clone(),
            identity: Identity::of(&recorded.event),
            digest: content_digest(&recorded.event),
            response: None,
        };
        store.append(part.iter().map(incoming).collect()).await?;
    }
    let seqs: Vec<u64> = store.blocks_after(0, usize::MAX).await?.iter().map(|info| info.seq).collect();
    let mut best = Stored { columns: u128::MAX, prints: u128::MAX };
    for _ in 0..ROUNDS {
        best.columns = best.columns.min(all(&store, &seqs, events.len(), columns).await?);
        best.prints = best.prints.min(all(&store, &seqs, events.len(), prints).await?);
    }
    Ok(best)
}

type Counting = Pin<Box<dyn Future<Output = Result<usize, StoreError>> + Send>>;

/// Nanoseconds in which all blocks are read, each thread its share of them.
async fn all(
    store: &Arc<SqliteStore>,
    seqs: &[u64],
    events: usize,
    read: fn(Arc<SqliteStore>, Vec<u64>) -> Counting,
) -> Result<u128, Box<dyn Error>> {
    let started = Instant::now();
    let mut reading = tokio::task::JoinSet::new();
    for share in seqs.chunks(seqs.len().div_ceil(THREADS).max(1)) {
        let (store, share) = (Arc::clone(store), share.to_vec());
        reading.spawn(async move {
            let mut found = 0_usize;
            for part in share.chunks(BLOCKS_PER_READ) {
                found = found.saturating_add(read(Arc::clone(&store), part.to_vec()).await?);
            }
            Ok::<usize, StoreError>(found)
        });
    }
    let found = reading.join_all().await.into_iter().collect::<Result<Vec<usize>, _>>()?;
    assert_eq!(found.iter().sum::<usize>(), events);
    Ok(started.elapsed().as_nanos())
}

fn columns(store: Arc<SqliteStore>, seqs: Vec<u64>) -> Counting {
    Box::pin(async move {
        let mut found = 0_usize;
        for stored in store.read(seqs).await? {
            let columns = read_checked_columns(&stored.bytes);
            found = found.saturating_add(columns.map_err(|error| StoreError::unavailable("read a block", error))?.len);
        }
        Ok(found)
    })
}

fn prints(store: Arc<SqliteStore>, seqs: Vec<u64>) -> Counting {
    Box::pin(async move { Ok(store.prints(seqs).await?.iter().flatten().map(Vec::len).sum()) })
}

fn print<'a>(identities: &mut Identities<'a>, recorded: &'a Recorded) -> Print {
    print_of(identities.of(&recorded.event), &content_digest(&recorded.event))
}

/// Nanoseconds in which all blocks are read, which must give all events.
fn timed(
    blocks: &[EncodedBlock],
    events: usize,
    read: impl Fn(&[u8]) -> Result<usize, BlockError>,
) -> Result<u128, Box<dyn Error>> {
    let started = Instant::now();
    let mut found = 0_usize;
    for block in blocks {
        found = found.saturating_add(read(&block.bytes)?);
    }
    assert_eq!(found, events);
    Ok(started.elapsed().as_nanos())
}

/// The events of a file, ordered as a sealed block of a day would hold them: in order of arrival.
fn read(text: &str) -> Result<Vec<Recorded>, Box<dyn Error>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut events = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let extra = ["campaign".into()];
    for part in lines.chunks(REQUEST_EVENTS_MAX) {
        let body = part.join("\n");
        let rules = Rules { now_ns: i64::MAX / 2, extra_tags: &extra };
        let rules = Rules { now_ns: now_ns(), ..rules };
        for event in read_events(body.as_bytes(), Shape::Ndjson, &rules)? {
            let event = event.map_err(|error| error.detail)?;
            if seen.insert(Identity::of(&event)) {
                events.push(Recorded { event, origin: Origin::default(), recorded_at_ns: now_ns() });
            }
        }
    }
    Ok(events)
}

fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
