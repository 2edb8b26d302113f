//! How every adapter of a port behaves: one suite, run on each of them.
//!
//! An adapter's tests name a function that opens an empty store and returns it behind whatever keeps it alive:
//! `recoup_store::event_log_conformance!(open_log)` with `fn open_log() -> (Guard, Arc<dyn EventLog>)`, and
//! `live_conformance!`, `leases_conformance!` (both ports), `books_conformance!`, `documents_conformance!` and `alerts_conformance!` likewise. Each behaviour becomes a test of its own.
//! A behaviour that does not hold fails an assertion.

pub mod alerts;
pub mod books;
pub mod documents;
pub mod event_log;
pub mod leases;
pub mod live;

use std::future::Future;

/// Tasks that race in the behaviours about concurrency.
pub const TASKS: usize = 16;

/// Runs [`TASKS`] tasks at once, each with its number, and gives what they returned in order of the numbers.
pub(crate) async fn race<T, F>(task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let running: Vec<_> = (0..TASKS).map(|number| tokio::spawn(task(number))).collect();
    let mut done = Vec::with_capacity(TASKS);
    for task in running {
        done.push(task.await.expect("a racing task ends"));
    }
    done
}

/// A test for each named behaviour of a module.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($open:path, $port:ident, $($behaviour:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $behaviour() {
                let (_guard, store) = $open();
                $crate::conformance::$port::$behaviour(store).await;
            }
        )+
    };
}

/// Tests of an [`crate::EventLog`] with one lane: what holds for every log.
#[macro_export]
macro_rules! event_log_conformance {
    ($open:path) => {
        $crate::conformance_tests!(
            $open,
            event_log,
            evt_2_an_empty_log_answers_with_nothing,
            evt_2_an_exact_retry_is_all_duplicates,
            evt_2_repeats_and_conflicts_inside_a_request_are_known,
            evt_2_of_racing_retries_one_is_accepted,
            evt_2_an_acknowledged_event_is_readable_as_it_came,
            rat_3_a_block_holds_one_day_and_is_named_by_its_content,
            rat_3_blocks_are_listed_page_by_page,
            rat_3_large_appends_are_split_at_the_limit_of_a_block,
            rat_3_large_events_are_split_at_the_bytes_of_a_block,
            rat_3_blocks_are_read_in_the_order_asked_for,
            rat_3_numbers_are_never_below_one_given_before,
            atr_1_the_blocks_of_a_trace_are_found,
            atr_1_traces_beyond_a_day_are_found,
            evt_2_shared_responses_are_found,
            evt_2_prints_are_those_of_the_events,
            evt_2_dropped_prints_are_gone_and_nothing_else,
        );
    };
}

/// Tests of an [`crate::EventLog`] with one lane that knows the identity of everything in it at once.
#[macro_export]
macro_rules! event_log_identity_conformance {
    ($open:path) => {
        $crate::conformance_tests!(
            $open,
            event_log,
            evt_2_the_same_event_is_a_duplicate,
            evt_2_other_content_is_a_conflict_and_the_first_stays,
            evt_2_outcomes_stand_in_the_order_of_the_events,
            evt_2_racing_appends_accept_each_event_once,
            evt_2_of_racing_contents_one_stays,
        );
    };
}

/// Tests of an [`crate::EventLog`] with one lane that knows only exact repeats at once: the night finds the others.
#[macro_export]
macro_rules! event_log_repeats_conformance {
    ($open:path) => {
        $crate::conformance_tests!(
            $open,
            event_log,
            evt_2_an_overlapping_request_is_stored_beside_the_first,
            evt_2_a_retry_that_is_half_known_stores_the_other_half,
        );
    };
}

/// Tests of [`crate::Live`].
#[macro_export]
macro_rules! live_conformance {
    ($open:path) => {
        $crate::conformance_tests!(
            $open,
            live,
            bud_1_unknown_traces_and_counters_are_empty,
            bud_1_a_posted_trace_is_read_as_it_was_posted,
            bud_1_a_change_of_a_stale_state_changes_nothing,
            bud_1_the_same_change_again_changes_nothing,
            bud_1_a_group_is_posted_whole_or_not_at_all,
            bud_1_counters_are_sums_of_what_is_posted,
            bud_1_a_posting_that_moves_changes_both_counters,
            bud_1_counters_go_down_too,
            bud_1_groups_have_limits,
            bud_1_racing_posts_to_one_counter_are_exact,
            bud_1_racing_posts_to_one_trace_lose_nothing,
            bud_1_states_of_many_blocks_are_kept,
            bud_1_counters_are_told_apart_whatever_they_are_called,
            bud_1_every_fingerprint_is_a_trace,
        );
    };
}

/// Tests of [`crate::Books`].
#[macro_export]
macro_rules! books_conformance {
    ($open:path) => {
        $crate::conformance_tests!(
            $open,
            books,
            rat_3_versions_start_at_one_and_count_puts,
            rat_3_a_write_happens_only_if_its_expectation_holds,
            rat_3_a_group_is_written_whole_or_not_at_all,
            rat_3_a_group_names_a_record_once,
            rat_3_groups_and_values_have_limits,
            rat_3_pages_end_at_their_limit,
            rat_3_pages_from_the_end_are_those_from_the_beginning,
            rat_3_records_are_read_at_once,
            rat_3_records_whose_time_is_over_go_and_no_others,
            rat_3_prefixes_are_compared_letter_by_letter,
            rat_3_racing_writers_lose_nothing,
            rat_3_of_racing_first_writers_one_wins,
            rat_3_a_refused_group_takes_no_racing_one_with_it,
        );
    };
}

/// Tests of [`crate::Documents`].
#[macro_export]
macro_rules! documents_conformance {
    ($open:path) => {
        $crate::conformance_tests!(
            $open,
            documents,
            clo_3_a_document_is_written_once,
            clo_3_of_racing_contents_one_stays,
            clo_3_racing_equal_contents_are_the_same,
            clo_3_documents_are_listed_in_order,
            clo_3_a_link_is_an_address_or_nothing,
        );
    };
}

/// Tests of [`crate::Alerts`]; the function gives an [`alerts::Watched`] in the place of the port.
#[macro_export]
macro_rules! alerts_conformance {
    ($open:path) => {
        $crate::conformance_tests!(
            $open,
            alerts,
            rat_2_an_alert_arrives_with_its_json_and_attributes,
            rat_2_racing_alerts_all_arrive,
            rat_2_alerts_beyond_a_limit_are_refused_in_words,
        );
    };
}

/// Tests of [`crate::Leases`] and [`crate::Live`] over one store: `fn open() -> (Guard, (Arc<dyn Leases>, Arc<dyn Live>))`.
#[macro_export]
macro_rules! leases_conformance {
    ($open:path) => {
        $crate::conformance_tests!(
            $open,
            leases,
            bud_3_a_grant_is_all_or_nothing,
            bud_2_a_grant_without_a_limit_is_counted,
            bud_3_draws_take_what_is_free,
            bud_3_a_reservation_is_settled_once,
            bud_3_a_lease_that_ends_gives_back_what_it_has,
            bud_3_a_post_settles_what_its_events_name,
            bud_3_many_leases_end_together,
            bud_3_an_extended_reservation_changes_no_counter,
            bud_3_racing_grants_never_exceed_the_limit,
        );
    };
}
