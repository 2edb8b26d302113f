//! Request bodies: bounded, and decompressed within the same bound.

use std::io::Read;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use recoup_metering::Shape;
use recoup_workflows::Refusal;

use crate::problem::Problem;

/// Reads a body of at most `most` bytes, before and after decompression (gzip, zstd or none).
pub(crate) async fn read(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Problem> {
    let collected = Limited::new(body, most).collect().await.map_err(|error| {
        if error.downcast_ref::<http_body_util::LengthLimitError>().is_some() {
            too_large(most)
        } else {
            Problem::invalid("broken-body", "body", "the body ended early; nothing was stored, send it again")
        }
    })?;
    let bytes = collected.to_bytes();
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
