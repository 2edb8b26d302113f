//! Which of several records of one event stands (EVT-2).
//!
//! A log that many write to at once may hold an event twice: in two requests that overlap, or with other content.

use recoup_model::Recorded;
use recoup_model::digest::content_digest;

/// What several records of the same events come to, as places among them.
pub(crate) struct Records {
    /// Of each identity the record that stands, in order.
    pub(crate) standing: Vec<usize>,
    /// Those that stand while another record of the event has other content.
    pub(crate) disputed: Vec<usize>,
}

/// Of each identity the record that was made first stands, of these the one with the smaller content digest. `None`: each
/// event is there once.
pub(crate) fn repeated(events: &[Recorded]) -> Option<Records> {
    let names = events.iter().map(|recorded| (recorded.event.trace_id.as_deref(), &*recorded.event.event_id));
    let mut places: Vec<_> = names.zip(0_usize..).collect();
    places.sort_unstable();
    if places.windows(2).all(|pair| matches!(pair, [one, other] if one.0 != other.0)) {
        return None;
    }
    let mut records = Records { standing: Vec::with_capacity(places.len()), disputed: Vec::new() };
    for same in places.chunk_by(|one, other| one.0 == other.0) {
        if let [(_, only)] = same {
            records.standing.push(*only);
            continue;
        }
        let of = same.iter().filter_map(|(_, at)| Some((events.get(*at)?, *at)));
        let mut ranks: Vec<_> = of.map(|(one, at)| (one.recorded_at_ns, content_digest(&one.event), at)).collect();
        ranks.sort_unstable();
        let Some((_, digest, first)) = ranks.first() else { continue };
        records.standing.push(*first);
        if ranks.iter().any(|(_, other, _)| other != digest) {
            records.disputed.push(*first);
        }
    }
    records.standing.sort_unstable();
    Some(records)
}

/// The events that stand, in the order given: of each identity the one recorded first, and of these the one with the smaller
/// content digest.
#[must_use]
pub fn first_recorded(events: Vec<Recorded>) -> Vec<Recorded> {
    let Some(Records { standing, .. }) = repeated(&events) else { return events };
    let mut events: Vec<Option<Recorded>> = events.into_iter().map(Some).collect();
    standing.into_iter().filter_map(|at| events.get_mut(at).and_then(Option::take)).collect()
}
