//! Identity and content digest of an event (EVT-2), and SHA-256 digests in general.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::event::{Event, Id, Tags};
use crate::usage::TokenClass;

/// A SHA-256 digest, printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Bytes that are put together before they are hashed.
const HASHED_AT_ONCE: usize = 16 * 1024;

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of bytes that lie in parts, as if they lay together.
    #[must_use]
    pub fn of_parts(parts: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        let mut hash = Sha256::new();
        // Short parts are hashed faster together.
        let mut together = Vec::with_capacity(HASHED_AT_ONCE);
        for part in parts {
            let part = part.as_ref();
            if together.len().saturating_add(part.len()) > HASHED_AT_ONCE {
                hash.update(&together);
                together.clear();
            }
            if part.len() < HASHED_AT_ONCE { together.extend_from_slice(part) } else { hash.update(part) }
        }
        hash.update(&together);
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl std::str::FromStr for Digest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Fingerprint of (`trace_id`, `event_id`): 64 bits of the trace's digest, 64 of the event's inside it. Both halves
/// come from SHA-256, so that nobody can choose ids that meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Names the trace.
    pub trace: u64,
    /// Names the event inside the trace.
    pub event: u64,
}

fn first_eight(digest: &[u8]) -> u64 {
    digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl Identity {
    /// The fingerprint of a trace id.
    #[must_use]
    pub fn trace_of(trace_id: &str) -> u64 {
        first_eight(&Sha256::new().chain_update(b"t").chain_update(trace_id).finalize())
    }

    /// The fingerprint of the trace that an event without a trace is by itself.
    #[must_use]
    pub fn trace_of_lone(event_id: &str) -> u64 {
        first_eight(&Sha256::new().chain_update(b"s").chain_update(event_id).finalize())
    }

    /// The identity of an event; without a trace it is a trace of its own, which no trace id can name.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Identities::default().of(event)
    }

    /// The identity of the event with that id inside a trace.
    #[must_use]
    pub fn inside(trace: u64, event_id: &str) -> Self {
        let hash = Sha256::new().chain_update(b"e").chain_update(trace.to_be_bytes()).chain_update(event_id);
        Self { trace, event: first_eight(&hash.finalize()) }
    }

    /// As 16 bytes, big-endian: sorts as the identity does.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.trace) << 64 | u128::from(self.event)).to_be_bytes()
    }
}

/// Makes identities of many events. Those of a trace often follow one another: its fingerprint is computed once.
#[derive(Debug, Default)]
pub struct Identities<'a> {
    last: Option<(&'a str, u64)>,
}

impl<'a> Identities<'a> {
    /// The identity of the next event, see [`Identity::of`].
    pub fn of(&mut self, event: &'a Event) -> Identity {
        let trace = match (&event.trace_id, self.last) {
            (None, _) => Identity::trace_of_lone(&event.event_id),
            (Some(trace_id), Some((last, trace))) if **trace_id == *last => trace,
            (Some(trace_id), _) => {
                let trace = Identity::trace_of(trace_id);
                self.last = Some((trace_id, trace));
                trace
            }
        };
        Identity::inside(trace, &event.event_id)
    }
}

/// Fingerprint of (provider, `response_id`), by which two reports of one call find each other (EVT-2).
#[must_use]
pub fn response_fingerprint(provider: &str, response_id: &str) -> u64 {
    let length = u64::try_from(provider.len()).unwrap_or(u64::MAX);
    let hash = Sha256::new().chain_update(b"r").chain_update(length.to_be_bytes()).chain_update(provider);
    first_eight(&hash.chain_update(response_id).finalize())
}

struct Canonical(Sha256);

impl Canonical {
    fn field(&mut self, number: u8, bytes: &[u8]) {
        let [a, b, c, d] = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.0.update([number, a, b, c, d]);
        self.0.update(bytes);
    }

    fn text(&mut self, number: u8, text: Option<&Id>) {
        if let Some(text) = text {
            self.field(number, text.as_bytes());
        }
    }

    fn tags(&mut self, tags: &Tags) {
        self.text(20, tags.agent.as_ref());
        self.text(21, tags.task_type.as_ref());
        self.text(22, tags.task_id.as_ref());
        self.text(23, tags.team.as_ref());
        self.text(24, tags.project.as_ref());
        for (name, value) in &tags.extra {
            self.field(25, name.as_bytes());
            self.field(26, value.as_bytes());
        }
    }
}

/// The content digest of an event: SHA-256 over numbered, length-prefixed fields, absent ones left out.
///
/// Left out besides: when and how it was recorded, and `user`, whose stored form depends on the organisation's key.
/// The field numbers are part of every manifest ever written and never change.
#[must_use]
pub fn content_digest(event: &Event) -> Digest {
    let mut canonical = Canonical(Sha256::new());
    canonical.text(1, event.trace_id.as_ref());
    canonical.field(2, event.event_id.as_bytes());
    canonical.text(3, event.parent_id.as_ref());
    canonical.field(4, &event.used_at_ns.to_be_bytes());
    if let Some(duration_ms) = event.duration_ms {
        canonical.field(5, &duration_ms.to_be_bytes());
    }
    canonical.field(6, event.kind.name().as_bytes());
    if event.critical {
        canonical.field(7, b"critical");
    }
    if let Some(status) = event.status {
        canonical.field(8, status.name().as_bytes());
    }
    canonical.text(9, event.provider.as_ref());
    canonical.text(10, event.model.as_ref());
    canonical.text(11, event.service_tier.as_ref());
    if let Some(usage) = event.usage {
        canonical.field(12, TokenClass::ALL.map(|class| usage.get(class).to_be_bytes()).as_flattened());
    }
    if let Some(quantity) = &event.quantity {
        canonical.field(13, quantity.sku.as_bytes());
        canonical.field(14, &quantity.quantity.pico().to_be_bytes());
        canonical.text(15, quantity.unit.as_ref());
    }
    if let Some(reported) = event.reported {
        canonical.field(16, &reported.amount.pico().to_be_bytes());
        canonical.field(17, reported.currency.code().as_bytes());
    }
    canonical.tags(&event.tags);
    canonical.text(30, event.response_id.as_ref());
    canonical.text(31, event.retry_of.as_ref());
    canonical.text(32, event.supersedes.as_ref());
    canonical.text(33, event.reservation_id.as_ref());
    Digest(canonical.0.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    fn event(trace_id: Option<&str>, event_id: &str) -> Event {
        Event {
            trace_id: trace_id.map(Id::from),
            event_id: Id::from(event_id),
            parent_id: None,
            used_at_ns: 1,
            duration_ms: None,
            kind: Kind::Llm,
            tags: Tags::default(),
            critical: false,
            status: None,
            provider: None,
            model: None,
            service_tier: None,
            usage: None,
            quantity: None,
            reported: None,
            response_id: None,
            retry_of: None,
            supersedes: None,
            reservation_id: None,
        }
    }

    #[test]
    fn evt_2_an_event_without_a_trace_is_a_trace_of_its_own() {
        let own = Identity::of(&event(None, "x"));
        assert_ne!(own, Identity::of(&event(Some("x"), "x")));
        assert_eq!(own, Identity::of(&event(None, "x")));
        assert_eq!(Identity::of(&event(Some("t"), "x")).trace, Identity::of(&event(Some("t"), "y")).trace);
    }

    #[test]
    fn evt_2_an_identity_is_the_same_whatever_came_before() {
        let ids = [(Some("t"), "x"), (Some("t"), "y"), (None, "t"), (Some("u"), "x"), (None, "x"), (Some("t"), "x")];
        let events = ids.map(|(trace_id, event_id)| event(trace_id, event_id));
        let mut identities = Identities::default();
        for event in &events {
            assert_eq!(identities.of(event), Identity::of(event), "{event:?}");
        }
    }

    #[test]
    fn evt_2_the_digest_tells_contents_apart_but_not_users() {
        let plain = event(Some("t"), "x");
        let mut other = plain.clone();
        other.tags.user = Some(Id::from("somebody"));
        assert_eq!(content_digest(&plain), content_digest(&other));
        other.usage = Some(crate::usage::Usage::NONE);
        assert_ne!(content_digest(&plain), content_digest(&other));
        let mut moved = plain.clone();
        moved.provider = Some(Id::from("a"));
        let mut model = plain;
        model.model = Some(Id::from("a"));
        assert_ne!(content_digest(&moved), content_digest(&model));
    }

    #[test]
    fn clo_5_parts_have_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0_u8..=255).cycle().take(70_000).collect();
        let whole = Digest::of(&bytes);
        for lengths in [vec![70_000], vec![1; 70_000], vec![16_384, 1, 16_383, 37_232], vec![0, 16_385, 53_615, 0]] {
            let mut rest = bytes.as_slice();
            let parts = lengths.into_iter().filter_map(|length| {
                let (part, others) = rest.split_at_checked(length)?;
                rest = others;
                Some(part)
            });
            assert_eq!(Digest::of_parts(parts), whole);
        }
    }
}
