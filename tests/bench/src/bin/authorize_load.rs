//! Sends one request again and again over some connections, each as soon as it is answered, and measures the answers. The
//! request is sent as it stands in a file, and an answer is read no further than where it ends, so that the same generator
//! serves for HTTP and for Redis and takes little of the machine.

use std::error::Error;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What is sent, and for how long.
struct Load {
    address: String,
    request: Vec<u8>,
    /// What an answer has to hold to be counted as `found`.
    wanted: Vec<u8>,
    until: Instant,
    /// Most requests of one connection.
    most: usize,
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    nanos: Vec<u64>,
    found: usize,
    failed: usize,
}

/// Where an answer ends; `None`: not yet.
fn end_of(answer: &[u8]) -> Option<usize> {
    if answer.first() == Some(&b'H') {
        let head = find(answer, b"\r\n\r\n")? + 4;
        let name = b"content-length: ";
        let at = find(answer, name).map_or(head, |at| at + name.len());
        let digits = answer.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0_usize, |length, digit| length * 10 + usize::from(digit - b'0'));
        return (answer.len() >= head + length).then_some(head + length);
    }
    // Redis: one line.
    answer.ends_with(b"\r\n").then_some(answer.len())
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window.eq_ignore_ascii_case(part))
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn receive(stream: &TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    loop {
        stream.readable().await?;
        match stream.try_read(buffer.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if let Some(end) = end_of(buffer.get(..filled).unwrap_or_default()) {
            return Ok(end);
        }
    }
}

async fn connection(load: Arc<Load>) -> std::io::Result<Seen> {
    let stream = TcpStream::connect(&load.address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    let mut seen = Seen::default();
    while seen.nanos.len() < load.most {
        let started = Instant::now();
        if started >= load.until {
            break;
        }
        send(&stream, &load.request).await?;
        let end = receive(&stream, &mut buffer).await?;
        seen.nanos.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let answer = buffer.get(..end).unwrap_or_default();
        let is_good = answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b":");
        seen.failed += usize::from(!is_good);
        seen.found += usize::from(!load.wanted.is_empty() && find(answer, &load.wanted).is_some());
    }
    Ok(seen)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, request, connections, millis, most, wanted] = arguments.as_slice() else {
        return Err("usage: authorize_load ADDRESS REQUEST_FILE CONNECTIONS MILLIS MOST_PER_CONNECTION WANTED".into());
    };
    let started = Instant::now();
    let load = Arc::new(Load {
        address: address.clone(),
        request: std::fs::read(request)?,
        wanted: wanted.clone().into_bytes(),
        until: started + Duration::from_millis(millis.parse()?),
        most: most.parse()?,
    });
    let mut connections: JoinSet<_> =
        (0..connections.parse::<usize>()?).map(|_| connection(Arc::clone(&load))).collect();
    let mut all = Seen::default();
    while let Some(seen) = connections.join_next().await {
        let Seen { nanos, found, failed } = seen??;
        all.nanos.extend(nanos);
        all.found += found;
        all.failed += failed;
    }
    let nanos = started.elapsed().as_nanos().max(1);
    all.nanos.sort_unstable();
    let requests = all.nanos.len();
    let percentile = |percent: usize| all.nanos.get(requests * percent / 100).copied().unwrap_or_default();
    println!(
        "{}",
        serde_json::json!({
            "requests": requests, "found": all.found, "failed": all.failed, "nanos": nanos.to_string(),
            "per_second": (requests as u128 * 1_000_000_000 / nanos).to_string(),
            "p50_ns": percentile(50), "p99_ns": percentile(99),
        })
    );
    Ok(())
}
