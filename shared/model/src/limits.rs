//! Named limits of what is accepted, in one place; the README's table is made from these.

/// Bytes of a request body after decompression.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Events in one request.
pub const REQUEST_EVENTS_MAX: usize = 10_000;
/// Bytes of one event in NDJSON or as an array element.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an id (`event_id`, `trace_id`, `parent_id`, `response_id`, `retry_of`, `supersedes`).
pub const ID_BYTES_MAX: usize = 128;
/// Bytes of a `reservation_id`, which says for whose tags it was given.
pub const RESERVATION_ID_BYTES_MAX: usize = 2_560;
/// Bytes of a tag's value, of `provider`, `model`, `service_tier`, `sku` and `unit`.
pub const TAG_BYTES_MAX: usize = 256;
/// Bytes of the name of an extra tag.
pub const TAG_NAME_BYTES_MAX: usize = 64;
/// Extra tags on one event.
pub const EXTRA_TAGS_MAX: usize = 16;
/// Tokens of one class in one event.
pub const TOKENS_MAX: u64 = 1_000_000_000_000;
/// Milliseconds of one event: 400 days.
pub const DURATION_MS_MAX: u64 = 400 * 24 * 3_600 * 1_000;
/// Units of a `quantity`, and currency units of a reported cost.
pub const UNITS_MAX: i128 = 1_000_000_000_000;
/// Days an event may lie back (EVT-7).
pub const EVENT_AGE_DAYS_MAX: i64 = 400;
/// Hours an event may lie ahead (EVT-7).
pub const CLOCK_SKEW_HOURS_MAX: i64 = 1;
/// Events in one block of the log.
pub const BLOCK_EVENTS_MAX: usize = 4_096;
/// Bytes of one block, encoded and compressed.
pub const BLOCK_BYTES_MAX: usize = 256 * 1024;
/// Rows of one page of a list.
pub const PAGE_ROWS_MAX: usize = 1_000;
/// Rows of one page of a list when the caller names no `limit`.
pub const PAGE_ROWS_DEFAULT: usize = 100;
/// Spans shown of one trace.
pub const TRACE_SPANS_MAX: usize = 50_000;
/// Teams, agents, task types, people, prices and so on in an organisation file, each.
pub const ORGANISATION_ENTRIES_MAX: usize = 10_000;
/// Bytes of an organisation file.
pub const ORGANISATION_BYTES_MAX: usize = 1024 * 1024;
