//! How long what only serves delivery is kept. Alerts, extensions, reviews and the audit record stay.

/// Deliveries with their entries in the list, and where threads of Slack begin, days.
pub const DELIVERY_DAYS: i64 = 100;
/// What keeps things from being told twice, days. A model without a price is known for ever.
pub const TOLD_DAYS: i64 = 400;
/// Forms that were sent: Slack may send them again, within hours. Days.
pub const FORM_DAYS: i64 = 7;
/// Where a pressed button can be answered: Slack takes it for half an hour. Days.
pub const PRESS_DAYS: i64 = 1;
/// What keeps a block that comes again from being looked at anew for critical work: a stream keeps its records for a day, and
/// what was given up can be sent again for 14 days. Days.
pub const LOOKED_AT_DAYS: i64 = 30;
/// Records removed by one look, where the store does not remove them by itself.
pub const EXPIRED_MAX: usize = 500;

const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;

/// The end of so many days from an instant on.
pub(crate) const fn end_of(from_ns: i64, days: i64) -> i64 {
    from_ns.saturating_add(days.saturating_mul(DAY_NS))
}
