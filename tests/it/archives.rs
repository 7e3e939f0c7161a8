//! Archives as folders, by the command.

use towpath_testkit::archives::{tar_gz, zip};
use towpath_tests::{Project, assert_a_kill_is_survived, numbered_csv};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_in_the_middle_of_an_entry_goes_on_behind_what_was_committed() {
    let csv = numbered_csv(400_000);
    for (name, archive) in [("rows.zip", zip as fn(&[(&str, &[u8])]) -> Vec<u8>), ("rows.tar.gz", tar_gz)] {
        let project = Project::new();
        project.write(&format!("in/{name}"), archive(&[("readme", b"?"), ("rows.csv", csv.as_bytes())]));
        let source = "{ connector: file, path: \"in/*\", archive: { entries: \"*.csv\" } }";
        assert_a_kill_is_survived(project, source, 400_000).await;
    }
}

#[test]
fn entries_become_files_of_the_same_names() {
    let project = Project::new();
    project.write("in/a.zip", zip(&[("x.bin", b"one"), ("dir/y.bin", &vec![7; 3_000_000])]));
    project.write(
        "pipeline.yaml",
        "name: unpack\nstreams:\n  all:\n    source: { connector: file, path: in/, archive: auto, format: bytes }\n    \
         sink: { connector: file, path: out/, format: bytes }\n",
    );
    let (ended, report) = project.run();
    assert_eq!(ended.code, Some(0), "{report:#}");
    assert_eq!(project.read("out/a.zip!/x.bin"), "one");
    assert_eq!(std::fs::read(project.path("out/a.zip!/dir/y.bin")).expect("it is there"), vec![7; 3_000_000]);
}

#[test]
fn a_broken_archive_ends_its_stream_with_a_message_that_names_archive_and_entry() {
    let project = Project::new();
    let mut archive = zip(&[("dir/x.csv", numbered_csv(1_000).as_bytes())]);
    let middle = archive.len() / 2;
    archive[middle..middle + 50].fill(0xff);
    project.write("in/a.zip", archive);
    project.write(
        "pipeline.yaml",
        "name: broken\nstreams:\n  rows:\n    source: { connector: file, path: in/a.zip, archive: zip, columns: { id: int64, name: string } }\n    \
         sink: { connector: file, path: out.ndjson }\n",
    );
    let (ended, report) = project.run();
    assert_eq!(ended.code, Some(1), "{report:#}");
    let message = report["streams"][0]["failures"][0]["message"].as_str().expect("it says why").to_owned();
    assert!(message.contains("in/a.zip!/dir/x.csv"), "{message}");
    assert!(!project.path("out.ndjson").exists(), "nothing half is visible");
}
