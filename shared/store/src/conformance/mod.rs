//! How every adapter of a port behaves: one suite, run on each of them.
//!
//! An adapter's tests name a function that opens an empty store and returns it behind whatever keeps it alive:
//! `recoup_store::event_log_conformance!(open_log)` with `fn open_log() -> (Guard, Arc<dyn EventLog>)`, and
//! `books_conformance!`, `documents_conformance!` likewise. Each behaviour becomes a test of its own.
//! A behaviour that does not hold fails an assertion.

pub mod books;
pub mod documents;
pub mod event_log;

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

/// Tests of an [`crate::EventLog`] with one lane.
#[macro_export]
macro_rules! event_log_conformance {
    ($open:path) => {
        $crate::conformance_tests!(
            $open,
            event_log,
            evt_2_an_empty_log_answers_with_nothing,
            evt_2_the_same_event_is_a_duplicate,
            evt_2_other_content_is_a_conflict_and_the_first_stays,
            evt_2_outcomes_stand_in_the_order_of_the_events,
            evt_2_racing_appends_accept_each_event_once,
            evt_2_of_racing_contents_one_stays,
            evt_2_an_acknowledged_event_is_readable_as_it_came,
            rat_3_a_block_holds_one_day_and_is_named_by_its_content,
            rat_3_blocks_are_listed_page_by_page,
            rat_3_large_appends_are_split_at_the_limit_of_a_block,
            rat_3_blocks_are_read_in_the_order_asked_for,
            atr_1_the_blocks_of_a_trace_are_found,
            atr_1_traces_beyond_a_day_are_found,
            evt_2_shared_responses_are_found,
            evt_2_prints_are_those_of_the_events,
            evt_2_dropped_prints_are_gone_and_nothing_else,
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
            rat_3_prefixes_are_compared_letter_by_letter,
            rat_3_racing_writers_lose_nothing,
            rat_3_of_racing_first_writers_one_wins,
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
        );
    };
}
