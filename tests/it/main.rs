//! Whole pipelines, run by the built command against real files and servers that misbehave.

mod answers;
mod archives;
mod azure;
mod bad_input;
mod databases;
mod datasets;
mod disk;
mod downloads;
mod examples;
mod for_each;
mod formats;
mod google;
mod http_sink;
mod incremental;
mod jobs;
mod object_sink;
mod objects;
mod recorded;
mod recordings;
mod resume;
mod servers;
mod stores;
mod token_file;
