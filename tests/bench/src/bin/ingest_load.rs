//! Posts the same bodies to `recoup serve` (durable) and to a trivial axum POST, in interleaved rounds.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

struct Target {
    url: String,
    key: String,
}

/// Posts every body once over `connections` connections; returns events accepted and nanoseconds.
async fn run(target: &Target, bodies: Arc<Vec<Bytes>>, connections: usize) -> Result<u128, Box<dyn Error>> {
    let next = Arc::new(AtomicUsize::new(0));
    // A client wants a provider of cryptography, also where it speaks plain HTTP; an error says that there is one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().pool_max_idle_per_host(connections).build()?;
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (next, bodies, client) = (Arc::clone(&next), Arc::clone(&bodies), client.clone());
        let (url, key) = (target.url.clone(), target.key.clone());
        tasks.spawn(async move {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let request = client.post(&url).bearer_auth(&key).header("content-type", "application/x-ndjson");
                let answer = request.body(body.clone()).send().await.map_err(|error| error.to_string())?;
                if !answer.status().is_success() {
                    return Err(format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()));
                }
                answer.bytes().await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(started.elapsed().as_nanos())
}

async fn trivial() -> Result<String, Box<dyn Error>> {
    let app = Router::new().route("/", post(|body: Bytes| async move { body.len().to_string() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, url, key, batch, connections, rounds] = arguments.as_slice() else {
        return Err("usage: ingest FILE.ndjson URL KEY BATCH CONNECTIONS ROUNDS".into());
    };
    let (batch, connections, rounds): (usize, usize, usize) = (batch.parse()?, connections.parse()?, rounds.parse()?);
    let text = std::fs::read_to_string(file)?;
    let lines: Vec<&str> = text.lines().collect();
    let bodies: Vec<Bytes> = lines.chunks(batch).map(|part| Bytes::from(part.join("\n"))).collect();
    let floor = Target { url: trivial().await?, key: String::new() };
    let ours = Target { url: format!("{url}/v1/events?results=errors"), key: key.clone() };
    let per_round = bodies.len().div_ceil(rounds.max(1));
    let mut times = (Vec::new(), Vec::new());
    for part in bodies.chunks(per_round) {
        let events: usize = part.iter().map(|body| body.iter().filter(|byte| **byte == b'\n').count() + 1).sum();
        let part = Arc::new(part.to_vec());
        let rate = |nanos: u128| u128::try_from(events).unwrap_or(0) * 1_000_000_000 / nanos.max(1);
        times.0.push(rate(run(&ours, Arc::clone(&part), connections).await?));
        times.1.push(rate(run(&floor, part, connections).await?));
    }
    times.0.sort_unstable();
    times.1.sort_unstable();
    let median = |times: &Vec<u128>| times.get(times.len() / 2).copied().unwrap_or(0);
    println!(
        "{}",
        serde_json::json!({
            "bench": "ingest", "events": lines.len(), "batch": batch, "connections": connections, "rounds": rounds,
            "durable_events_s": median(&times.0), "trivial_post_events_s": median(&times.1),
        })
    );
    Ok(())
}
