//! Block codec: events per second and core, bytes per event, on events of `recoup sample`.

use std::error::Error;
use std::fs;
use std::time::Instant;

use recoup_metering::{Rules, Shape, read_events};
use recoup_model::limits::{BLOCK_EVENTS_MAX, REQUEST_EVENTS_MAX};
use recoup_model::{Identity, Origin, Recorded};
use recoup_store::block;

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: blocks FILE.ndjson")?;
    let events = read(&fs::read_to_string(path)?)?;
    let groups: Vec<&[Recorded]> = events.chunks(BLOCK_EVENTS_MAX).collect();
    let mut best = (u128::MAX, u128::MAX);
    let mut bytes = 0_usize;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let encoded = groups.iter().map(|group| block::encode(group)).collect::<Result<Vec<_>, _>>()?;
        best.0 = best.0.min(started.elapsed().as_nanos());
        bytes = encoded.iter().map(|block| block.bytes.len()).sum();
        let started = Instant::now();
        let mut decoded = 0_usize;
        for block in &encoded {
            decoded = decoded.saturating_add(block::decode(&block.bytes)?.len());
        }
        best.1 = best.1.min(started.elapsed().as_nanos());
        assert_eq!(decoded, events.len());
    }
    let per_second =
        |nanos: u128| u128::try_from(events.len()).unwrap_or(0).saturating_mul(1_000_000_000) / nanos.max(1);
    println!(
        "{}",
        serde_json::json!({
            "bench": "blocks", "events": events.len(), "encode_events_s": per_second(best.0),
            "decode_events_s": per_second(best.1), "bytes_per_event_x100": bytes * 100 / events.len().max(1),
        })
    );
    Ok(())
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
