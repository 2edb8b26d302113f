//! Limits, live counters, reservations: what may still be spent.
