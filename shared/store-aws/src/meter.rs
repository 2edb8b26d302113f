//! What the calls to `DynamoDB` consumed, so that their cost can be measured.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// Counts the capacity units that answers name.
#[derive(Debug, Default)]
pub struct Meter {
    read: AtomicU64,
    written: AtomicU64,
    calls: AtomicU64,
}

/// What a [`Meter`] shows: capacity units in halves, as an eventually consistent read of 4 KiB is one half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Read units, in halves.
    pub read_halves: u64,
    /// Write units, in halves.
    pub written_halves: u64,
    /// Calls that were answered and not refused.
    pub calls: u64,
}

impl Meter {
    /// What was consumed so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage { read_halves: load(&self.read), written_halves: load(&self.written), calls: load(&self.calls) }
    }

    /// Notes an answered call that read.
    pub(crate) fn read(&self, consumed: &[ConsumedCapacity]) {
        self.note(&self.read, consumed);
    }

    /// Notes an answered call that wrote.
    pub(crate) fn written(&self, consumed: &[ConsumedCapacity]) {
        self.note(&self.written, consumed);
    }

    fn note(&self, counter: &AtomicU64, consumed: &[ConsumedCapacity]) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let units = consumed.iter().map(|consumed| halves(consumed.capacity_units().unwrap_or_default()));
        counter.fetch_add(units.fold(0, u64::saturating_add), Ordering::Relaxed);
    }
}

#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the SDK counts units in floats; they are halves, never money"
)]
fn halves(units: f64) -> u64 {
    (units * 2.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rat_3_units_are_counted_in_halves() {
        let meter = Meter::default();
        let consumed = |units: f64| ConsumedCapacity::builder().capacity_units(units).build();
        meter.read(&[consumed(0.5), consumed(2.0)]);
        meter.written(&[consumed(6.0)]);
        assert_eq!(meter.usage(), Usage { read_halves: 5, written_halves: 12, calls: 2 });
    }
}
