//! Targets that cannot be written to.

use std::process::Command;

use towpath_tests::{Project, lines};

/// A small file system at a folder of the project, unmounted at the end; `None` where mounting is not allowed.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(project: &Project, name: &str, options: &str) -> Option<Self> {
        let folder = project.path(name);
        std::fs::create_dir_all(&folder).ok()?;
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&folder).output();
        mounted.ok().filter(|output| output.status.success()).map(|_| Self(folder))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn project() -> Project {
    let project = Project::new();
    let rows = lines((0..200_000).map(|id| format!("{id},{}", id * 7919 % 1_000_003)));
    project.write("rows.csv", format!("id,noise\n{rows}"));
    project.write("small.csv", "id\n1\n");
    project.write(
        "pipeline.yaml",
        "name: disk\nstreams:\n  large:\n    source: { connector: file, path: rows.csv }\n    \
         sink: { connector: file, path: target/large.ndjson }\n  small:\n    \
         source: { connector: file, path: small.csv }\n    sink: { connector: file, path: elsewhere/small.ndjson }\n",
    );
    project
}

fn assert_large_fails(project: &Project, part: &str) {
    let (ended, report) = project.run();
    assert_eq!(ended.code, Some(1), "{report:#}");
    let streams = report["streams"].as_array().expect("a report has streams");
    let large = streams.iter().find(|stream| stream["name"] == "large").expect("it is told of");
    let message = large["failures"][0]["message"].as_str().expect("it says why");
    assert!(message.contains(part) && message.contains("target"), "{message}");
    assert_eq!(project.ids("elsewhere"), [1], "the other stream is complete");
}

#[test]
fn a_full_disk_fails_its_stream_and_leaves_what_was_committed() {
    let project = project();
    let Some(_mount) = Mount::new(&project, "target", "size=256k") else {
        eprintln!("skipped: this user may not mount");
        return;
    };
    project.write("target/large.ndjson", "{\"id\":7}\n");
    assert_large_fails(&project, "free some space");
    assert_eq!(project.read("target/large.ndjson"), "{\"id\":7}\n");
}

#[test]
fn a_read_only_folder_fails_its_stream() {
    let project = project();
    let Some(_mount) = Mount::new(&project, "target", "ro") else {
        eprintln!("skipped: this user may not mount");
        return;
    };
    assert_large_fails(&project, "Read-only file system");
}
