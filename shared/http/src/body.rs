//! Request bodies: bounded in bytes and in time, and decompressed within the same bound.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use recoup_metering::Shape;
use recoup_model::limits::BODY_BYTES_MAX;
use recoup_workflows::Refusal;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::problem::Problem;
use crate::wrong_json;

/// How long a body may take as a whole: the largest one at 0.6 Mbit/s.
const BODY_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a body may say nothing.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(15);
/// Bytes of a refused body that are still read, and for how long.
const DRAINED_BYTES_MAX: usize = 32 * 1024 * 1024;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Reads a body of JSON; `shape` is what somebody should write who wrote something else.
pub(crate) async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    shape: &str,
) -> Result<T, Problem> {
    wrong_json::read(&read_text_of_json(headers, body, most).await?, "invalid-request", shape)
}

/// As [`read`], of a body that has to be JSON.
pub(crate) async fn read_text_of_json(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Problem> {
    match shape(headers)? {
        Shape::Json => read(headers, body, most).await,
        Shape::Ndjson => {
            Err(Problem::unsupported("this takes one JSON document, no lines; send application/json".to_owned()))
        }
    }
}

/// Reads a body as it was sent, of at most [`BODY_BYTES_MAX`] bytes: a route that takes fewer looks again.
pub(crate) async fn hold(body: Body) -> Result<Bytes, Problem> {
    collect(body, BODY_BYTES_MAX).await
}

/// Reads a body of at most `most` bytes, before and after decompression (gzip, zstd or none).
pub(crate) async fn read(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Problem> {
    let bytes = collect(body, most).await?;
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    match encoding.as_deref() {
        None | Some("identity" | "") => Ok(bytes),
        Some("gzip") => decompress(flate2::read::MultiGzDecoder::new(bytes.as_ref()), most, "gzip"),
        Some("zstd") => {
            let decoder = zstd::Decoder::new(bytes.as_ref()).map_err(|_| broken("zstd"))?;
            decompress(decoder, most, "zstd")
        }
        Some(other) => Err(Problem::unsupported(format!(
            "the Content-Encoding `{other}` is not understood; send gzip, zstd or none"
        ))),
    }
}

async fn collect(body: Body, most: usize) -> Result<Bytes, Problem> {
    timeout(BODY_TIME_MAX, pieces(body, most)).await.unwrap_or_else(|_| Err(too_slow(BODY_TIME_MAX)))
}

async fn pieces(mut body: Body, most: usize) -> Result<Bytes, Problem> {
    // Most bodies come in one piece, which is not copied.
    let (mut first, mut bytes) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = timeout(BODY_PAUSE_MAX, body.frame()).await.map_err(|_| too_slow(BODY_PAUSE_MAX))? {
        let frame = frame.map_err(|_| {
            Problem::invalid("broken-body", "body", "the body ended early; nothing was stored, send it again")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len().saturating_add(bytes.len()).saturating_add(data.len()) > most {
            drain(body).await;
            return Err(too_large(most));
        }
        if first.is_empty() && bytes.is_empty() {
            first = data;
            continue;
        }
        bytes.extend_from_slice(&std::mem::take(&mut first));
        bytes.extend_from_slice(&data);
    }
    Ok(if bytes.is_empty() { first } else { bytes.freeze() })
}

/// Reads what is left of a body that is refused, at most [`DRAINED_BYTES_MAX`] and for [`DRAIN_TIME_MAX`]: a client that is
/// still sending when the connection closes would see a reset and not the answer.
pub(crate) async fn drain(mut body: Body) {
    let drained = async {
        let mut drained = 0_usize;
        while let Some(Ok(frame)) = body.frame().await {
            drained = drained.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if drained > DRAINED_BYTES_MAX {
                break;
            }
        }
    };
    // Whoever is slower sees a reset.
    drop(timeout(DRAIN_TIME_MAX, drained).await);
}

fn too_slow(most: Duration) -> Problem {
    Problem::timed_out(format!(
        "the body did not come within {} s; nothing was stored, send it again, in smaller requests where the way is slow",
        most.as_secs()
    ))
}

fn too_large(most: usize) -> Problem {
    let detail = format!("the body has more than {most} bytes after decompression; send less in one request");
    Problem::from(Refusal::TooLarge(detail))
}

fn broken(encoding: &str) -> Problem {
    Problem::invalid("broken-body", "body", format!("the body is not valid {encoding}; nothing was stored"))
}

fn decompress(reader: impl Read, most: usize, encoding: &str) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(bound).read_to_end(&mut bytes).map_err(|_| broken(encoding))?;
    if bytes.len() > most { Err(too_large(most)) } else { Ok(Bytes::from(bytes)) }
}

/// Whether a body of events is JSON or NDJSON.
pub(crate) fn shape(headers: &HeaderMap) -> Result<Shape, Problem> {
    let text = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?")).unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "" | "application/json" | "text/json" | "application/x-www-form-urlencoded" => Ok(Shape::Json),
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/jsonlines"
        | "application/x-jsonlines" => Ok(Shape::Ndjson),
        other => Err(Problem::unsupported(format!(
            "the Content-Type `{other}` is not understood; send application/json or application/x-ndjson"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::IntoResponse as _;
    use futures_util::stream::{self, StreamExt as _};
    use tokio::time::{Duration, Instant, sleep};

    use super::{BODY_PAUSE_MAX, BODY_TIME_MAX, DRAIN_TIME_MAX, drain, read};

    /// A body whose pieces, of one byte, come after a pause each.
    fn slow(pause: Duration, pieces: usize) -> Body {
        let piece = move |_| async move {
            sleep(pause).await;
            Ok::<_, Infallible>("x")
        };
        Body::from_stream(stream::iter(0..pieces).then(piece))
    }

    async fn after(body: Body, most: usize) -> (Option<StatusCode>, Duration) {
        let began = Instant::now();
        let outcome = read(&HeaderMap::new(), body, most).await;
        (outcome.err().map(|problem| problem.into_response().status()), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_waited_for_and_not_for_ever() {
        let almost = BODY_PAUSE_MAX.saturating_sub(Duration::from_millis(10));
        assert_eq!(after(slow(almost, 3), 3).await.0, None);
        let late = after(slow(BODY_PAUSE_MAX.saturating_add(Duration::from_millis(10)), 3), 3).await;
        assert_eq!(late.0, Some(StatusCode::REQUEST_TIMEOUT));
        let (refused, waited) = after(slow(Duration::from_secs(1), 1_000), 1_000).await;
        assert_eq!(refused, Some(StatusCode::REQUEST_TIMEOUT));
        assert!(waited >= BODY_TIME_MAX && waited < BODY_TIME_MAX.saturating_add(BODY_PAUSE_MAX), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_a_refused_body_is_read_for_a_while() {
        let began = Instant::now();
        drain(slow(Duration::from_secs(1), 1_000)).await;
        assert!(began.elapsed() < DRAIN_TIME_MAX.saturating_add(Duration::from_secs(1)));
        let (refused, waited) = after(slow(Duration::from_secs(1), 1_000), 2).await;
        assert_eq!(refused, Some(StatusCode::PAYLOAD_TOO_LARGE));
        assert!(waited < DRAIN_TIME_MAX.saturating_add(Duration::from_secs(4)), "{waited:?}");
    }
}
