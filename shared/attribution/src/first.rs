//! Which of several records of one event stands (EVT-2).
//!
//! A log that many write to at once may hold an event twice: in two requests that overlap, or with other content.

use recoup_model::digest::content_digest;
use recoup_model::{Identity, Recorded};

/// The events that stand, in the order given: of each identity the one recorded first, and of these the one with the smaller
/// content digest.
#[must_use]
pub fn first_recorded(events: Vec<Recorded>) -> Vec<Recorded> {
    let mut places: Vec<(Identity, usize)> =
        events.iter().enumerate().map(|(at, recorded)| (Identity::of(&recorded.event), at)).collect();
    places.sort_unstable();
    if places.windows(2).all(|pair| matches!(pair, [one, other] if one.0 != other.0)) {
        return events;
    }
    let rank = |at: usize| events.get(at).map(|one| (one.recorded_at_ns, content_digest(&one.event), at));
    let same = places.chunk_by(|one, other| one.0 == other.0);
    let mut stands: Vec<usize> =
        same.filter_map(|same| same.iter().map(|(_, at)| *at).min_by_key(|at| rank(*at))).collect();
    stands.sort_unstable();
    let mut events: Vec<Option<Recorded>> = events.into_iter().map(Some).collect();
    stands.into_iter().filter_map(|at| events.get_mut(at).and_then(Option::take)).collect()
}
