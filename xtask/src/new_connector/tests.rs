use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use super::*;

#[test]
fn a_name_that_is_no_feature_name_is_refused() {
    for bad in ["", "S3", "my_db", "-x", "x-", "a--b", "9p"] {
        assert!(Name::parse(bad).is_err(), "{bad}");
    }
    let name = Name::parse("google-sheets2").unwrap();
    assert_eq!(name.type_name(), "GoogleSheets2");
    assert_eq!(name.module(), "towpath_connector_google_sheets2");
}

/// Compiles, so that a change of the contract that forgets the skeleton is found.
#[test]
fn the_skeleton_compiles_and_its_conformance_test_fails_until_it_is_filled_in() {
    let workspace = Workspace::load().unwrap();
    let copy = copy(&workspace);
    write(&copy, &Plan { name: Name::parse("tow-boat").unwrap(), source: true, sink: true }).unwrap();

    // The target folder is the workspace's own, so that no dependency is built twice.
    let test = |more: &[&str]| {
        let mut command =
            workspace.cargo(["test", "--package", "towpath-connector-tow-boat", "--test", "conformance"]);
        command.args(more).current_dir(&copy).env("CARGO_TARGET_DIR", workspace.target());
        command
    };
    process::capture(&mut test(&["--no-run"])).unwrap();
    let output = test(&[]).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{report}");
    assert!(report.contains("test source::reading_gives_what_was_seeded ... FAILED"), "{report}");
    assert!(report.contains("test sink::append_adds ... FAILED"), "{report}");
    assert!(report.contains("tow-boat: plan: the source does not do this yet"), "{report}");
}

/// Copies the files of the workspace, with their times, so that what was compiled for the last copy is still fresh.
fn copy(workspace: &Workspace) -> PathBuf {
    let copy = workspace.target().join("new-connector");
    if copy.exists() {
        fs::remove_dir_all(&copy).unwrap();
    }
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(workspace.root());
    for path in process::capture(&mut list).unwrap().split_terminator('\0') {
        let (from, to) = (workspace.root().join(path), copy.join(path));
        let Ok(metadata) = fs::metadata(&from) else { continue };
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&from, &to).unwrap();
        File::options().write(true).open(&to).unwrap().set_modified(metadata.modified().unwrap()).unwrap();
    }
    copy
}
