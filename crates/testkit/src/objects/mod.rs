//! What every store of objects has to do, as tests: listing, reading, bad networks, writing, whole files. A connector tells by
//! [`ObjectSite`] how a stranger puts an object there and looks at what is there; the macros make one named test of each promise.
//!
//! - [`object_source_promises!`](crate::object_source_promises) for a source,
//! - [`object_sink_promises!`](crate::object_sink_promises) for a sink,
//! - [`object_copy_promises!`](crate::object_copy_promises) for a store whose service copies,
//! - [`object_conformance!`](crate::object_conformance) for the suites of all connectors, in the formats and layouts that differ
//!   most.
//!
//! All of them are called with the type of the site, as `object_sink_promises! { site = crate::support::Prefix }`.
//!
//! Each test makes a site of its own with [`ObjectSite::new`]. What only one store has is tested by its connector.

mod archived;
mod bytes;
mod conformance;
mod copies;
mod front;
mod listing;
mod reading;
mod site;
mod tools;
mod trouble;
mod writing;

use std::future::Future;

pub use archived::*;
pub use bytes::*;
pub use conformance::{Empty, Seeded};
pub use copies::*;
pub use front::{behind, forward, through};
pub use listing::*;
pub use reading::*;
pub use site::{Case, ObjectSite};
pub use tools::{ObjectSiteTools, Scan, error, last_token, merged, numbered, scan};
pub use trouble::*;
pub use writing::*;

/// Proves a promise in a runtime of its own. The macros call it.
#[doc(hidden)]
pub fn prove(promise: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(promise);
}

/// One named test for each thing that a source of objects must do: `object_source_promises! { site = TYPE }`. See
/// [`objects`](crate::objects).
#[macro_export]
macro_rules! object_source_promises {
    (site = $site:ty $(,)?) => {
        $crate::__object_promises! { $site, [
            globs_match_as_they_do_in_folders
            objects_come_in_the_order_of_their_keys
            an_object_that_several_paths_match_is_read_once
            only_the_prefixes_that_a_glob_needs_are_listed
            objects_that_mark_folders_are_no_files
            thousands_of_objects_are_listed_page_by_page
            a_hundred_thousand_objects_are_planned_while_they_are_listed_and_never_held
            a_path_may_be_a_whole_url
            a_large_object_is_read_in_parts_of_which_none_is_lost
            what_is_read_to_its_end_is_one_request
            a_reader_that_pauses_holds_up_no_others
            an_object_that_changed_since_it_was_planned_is_an_error
            only_new_objects_are_read_when_asked_for
            what_is_new_is_told_by_names_or_times
            folders_become_columns_and_only_wanted_columns_are_read
            objects_that_differ_in_digits_are_one_data_set_with_its_columns
            entries_of_archives_are_read_as_objects_are
            a_large_entry_is_read_by_ranges_and_nothing_else_of_its_archive
            an_archive_that_changed_since_it_was_planned_is_an_error
            a_second_run_reads_only_new_archives
            a_server_that_wants_less_gets_less_and_everything_is_read
            a_429_is_asked_again_when_the_server_says
            a_range_is_read_on_and_the_object_not_read_again
            an_object_is_read_although_no_connection_brings_a_whole_range
            a_range_of_which_next_to_nothing_comes_is_given_up
            a_page_that_fails_is_asked_for_again_and_not_the_whole_listing
            a_server_that_falls_silent_is_asked_again
            a_server_that_makes_no_connection_is_given_up_in_time
        ] }
    };
}

/// One named test for each thing that a sink of objects must do: `object_sink_promises! { site = TYPE }`. See
/// [`objects`](crate::objects).
#[macro_export]
macro_rules! object_sink_promises {
    (site = $site:ty $(,)?) => {
        $crate::__object_promises! { $site, [
            append_adds_objects_and_replace_removes_those_of_earlier_runs_and_no_others
            a_large_object_goes_out_in_parts_and_comes_back_whole
            partitions_and_rotation_make_objects_of_their_own
            of_objects_with_large_parts_a_writer_keeps_few_open
            of_two_runs_the_later_one_wins_and_the_other_gets_a_conflict
            a_commit_that_is_made_from_several_sides_at_once_lands_once
            of_many_runs_that_begin_at_once_one_can_commit
            two_streams_do_not_overwrite_each_other
            many_commits_become_few_lists_and_a_replace_still_finds_every_object
            a_damaged_manifest_names_itself_and_can_be_reset
            a_receipt_never_leads_out_of_the_folder
            without_a_manifest_there_is_nothing_but_the_objects
            what_runs_that_were_killed_have_left_is_thrown_away_and_nothing_else
            an_object_is_visible_when_all_its_chunks_are_committed_in_whatever_order_they_came
            a_killed_run_goes_on_with_the_bytes_that_were_committed_and_no_others
            a_killed_run_leaves_the_object_of_before_until_the_next_has_all_of_the_new_one
            an_object_has_the_digest_that_it_must_have_or_is_refused
            a_replace_keeps_what_comes_again_and_removes_the_rest_of_its_own
            a_name_that_leads_elsewhere_is_refused_and_the_others_land
            what_nobody_commits_is_given_up
        ] }
    };
}

/// One named test for each thing that a store must do whose service copies: `object_copy_promises! { site = TYPE }`. See
/// [`objects`](crate::objects).
#[macro_export]
macro_rules! object_copy_promises {
    (site = $site:ty $(,)?) => {
        $crate::__object_promises! { $site, [
            bytes_that_the_service_copies_never_come_by
            an_object_that_changes_before_it_is_copied_is_an_error_and_never_a_mixture
            what_the_service_does_not_copy_is_read_and_the_report_says_so
            a_run_goes_on_with_bytes_where_one_before_had_them_copied
            other_credentials_are_another_realm
        ] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __object_promises {
    ($site:ty, [$($promise:ident)*]) => {
        $(
            #[test]
            fn $promise() {
                $crate::objects::prove($crate::objects::$promise::<$site>());
            }
        )*
    };
}

/// The suites of a source and a sink for the formats and layouts that differ most: `object_conformance! { site = TYPE }`. See
/// [`objects`](crate::objects).
#[macro_export]
macro_rules! object_conformance {
    (site = $site:ty $(,)?) => {
        $crate::__object_conformance! { @source $site,
            csv_source: rows("csv", false),
            ndjson_source: rows("ndjson.gz", false),
            incremental_source: rows("ndjson", true),
            parquet_source: rows("parquet", false),
            bytes_source: bytes(),
            zip_source: zipped("csv"),
        }
        $crate::__object_conformance! { @sink $site,
            ndjson: ("{stream}/{part}.ndjson", "ndjson", false),
            parquet: ("{stream}/{run}/{part}.parquet", "parquet", false),
            plain_path: ("{stream}.ndjson.gz", "ndjson", false),
            plain_path_parquet: ("{stream}.parquet", "parquet", false),
            plain_layout: ("{stream}/{part}.ndjson", "ndjson", true),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __object_conformance {
    (@source $site:ty, $($name:ident: $make:ident($($argument:expr),*),)*) => {
        $(
            mod $name {
                $crate::source_conformance! {
                    case = $crate::objects::Seeded::<$site>::$make($($argument),*).await
                }
            }
        )*
    };
    (@sink $site:ty, $($name:ident: ($path:expr, $format:expr, $plain:expr),)*) => {
        $(
            mod $name {
                $crate::sink_conformance! {
                    case = $crate::objects::Empty::<$site>::new($path, $format, $plain).await
                }
            }
        )*
    };
}
