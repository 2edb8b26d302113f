//! Request bodies: bounded, and decompressed within the same bound.

use std::io::Read;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use recoup_metering::Shape;
use recoup_workflows::Refusal;
use serde::de::DeserializeOwned;

use crate::problem::Problem;
use crate::wrong_json;

/// Bytes of a refused body that are still read.
const DRAINED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Reads a body of JSON; `shape` is what somebody should write who wrote something else.
pub(crate) async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    shape: &str,
) -> Result<T, Problem> {
    wrong_json::read(&read(headers, body, most).await?, "invalid-request", shape)
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

async fn collect(mut body: Body, most: usize) -> Result<Bytes, Problem> {
    // Most bodies come in one piece, which is not copied.
    let (mut first, mut bytes) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
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

/// Reads what is left of a body that is refused, at most [`DRAINED_BYTES_MAX`]: a client that is still sending when the
/// connection closes would see a reset and not the answer.
pub(crate) async fn drain(mut body: Body) {
    let mut drained = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        drained = drained.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if drained > DRAINED_BYTES_MAX {
            break;
        }
    }
}

fn too_large(most: usize) -> Problem {
    let detail = format!("the body has more than {most} bytes after decompression; send it in several requests");
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
