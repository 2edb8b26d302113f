//! How often things go wrong, or are merely unusual, in each scenario.

/// Rates per thousand of what the field's name says.
#[derive(Debug)]
pub(super) struct Habits {
    /// Events delivered twice.
    pub(super) duplicate: u64,
    /// Traces of which one event comes days late.
    pub(super) late_event: u64,
    /// Traces whose root comes days late.
    pub(super) late_root: u64,
    /// Roots that name neither team nor user.
    pub(super) no_payer: u64,
    /// Roots that name a team which the organisation file does not know.
    pub(super) dissolved_team: u64,
    /// Roots that name only a user of `[[people]]`.
    pub(super) user_only: u64,
    /// Traces of which one inner frame never comes.
    pub(super) lost_frame: u64,
    /// Frames that report the usage below them.
    pub(super) wrapper: u64,
    /// Wrappers that report more than that.
    pub(super) unobserved: u64,
    /// Model calls that time out and are tried again.
    pub(super) retry: u64,
    /// Traces of which the gateway reports one call too.
    pub(super) gateway: u64,
    /// Events without a trace.
    pub(super) traceless: u64,
    /// Tasks that fail.
    pub(super) failed: u64,
    /// Tasks that somebody stops.
    pub(super) killed: u64,
    /// Model calls that carry the provider's id of the response.
    pub(super) response_id: u64,
}

/// A month in which everything happens that recoup has to cope with.
pub(super) const DEMO: Habits = Habits {
    duplicate: 6,
    late_event: 14,
    late_root: 4,
    no_payer: 9,
    dissolved_team: 5,
    user_only: 60,
    lost_frame: 7,
    wrapper: 140,
    unobserved: 70,
    retry: 20,
    gateway: 8,
    traceless: 20,
    failed: 40,
    killed: 6,
    response_id: 1_000,
};

/// An ordinary month.
pub(super) const PLAIN: Habits = Habits {
    duplicate: 5,
    late_event: 2,
    late_root: 1,
    no_payer: 4,
    dissolved_team: 1,
    user_only: 30,
    lost_frame: 1,
    wrapper: 60,
    unobserved: 20,
    retry: 15,
    gateway: 0,
    traceless: 20,
    failed: 30,
    killed: 3,
    response_id: 60,
};
