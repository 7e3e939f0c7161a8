//! Disks that are full and folders that are read-only.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use serde_json::json;
use towpath_connector_file::CONNECTOR;
use towpath_core::WriteDisposition::Replace;
use towpath_core::{ErrorKind, Json, LoadSpec};
use towpath_testkit::rows;

use crate::support::{Folder, error};

/// A small file system in memory, for this test alone.
struct Disk(PathBuf);

impl Disk {
    /// `None` where mounting is not allowed.
    fn mount(path: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        match mount("tmpfs", path, "tmpfs", MountFlags::empty(), options.as_c_str()) {
            Ok(()) => {
                mount_change(path, MountPropagationFlags::PRIVATE).unwrap();
                Some(Self(path.to_owned()))
            }
            Err(error) => {
                println!("skipped: a file system for the test cannot be mounted here ({error})");
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

/// Rows that compress badly.
fn noise(count: i64) -> arrow::array::RecordBatch {
    let mut state = 1_u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{state:x}")
    };
    let values: Vec<Json> = (0..count).map(|id| json!([id, word(), word()])).collect();
    rows::batch("id: int64, a: string, b: string", &json!(values))
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_committed_stays() {
    let folder = Folder::new();
    let Some(_disk) = Disk::mount(&folder.at("disk"), "size=1m") else { return };
    folder.load("disk/a.ndjson", &json!({}), "run1", Replace, &[noise(100)]).await.unwrap();
    let before = folder.text("disk/a.ndjson");

    let full = error(folder.load("disk/a.ndjson", &json!({}), "run2", Replace, &[noise(50_000)]).await);
    assert_eq!((full.kind(), full.is_retryable()), (ErrorKind::Unavailable, false), "{full}");
    let text = full.to_string();
    assert!(
        text.contains("there is no space left") && text.contains("what was committed is intact"),
        "{text}"
    );
    assert_eq!(folder.text("disk/a.ndjson"), before);

    folder.load("disk/a.ndjson", &json!({}), "run3", Replace, &[noise(10)]).await.unwrap();
    assert_eq!(folder.text("disk/a.ndjson").lines().count(), 10);
}

#[tokio::test]
async fn a_read_only_folder_is_told_before_anything_is_written() {
    let folder = Folder::new();
    let Some(_disk) = Disk::mount(&folder.at("disk"), "size=1m,ro") else { return };
    let sink = CONNECTOR.sink_entry().unwrap();
    let sink = sink.open(folder.options("disk/out/{part}.csv", &json!({})), &folder.cx).await.unwrap();
    let load = LoadSpec::new("p", "s", "run1", Replace);
    for failed in [error(sink.check(&folder.cx, &load).await), error(sink.begin(&folder.cx, &load).await)] {
        assert_eq!(failed.kind(), ErrorKind::PermissionDenied);
        let text = failed.to_string();
        assert!(text.contains("the file system is read-only") && text.contains("disk/out"), "{text}");
    }
}

#[tokio::test]
async fn a_folder_below_a_file_cannot_be() {
    let folder = Folder::with(&[("file", "x")]);
    let failed = error(folder.load("file/a.csv", &json!({}), "run1", Replace, &[noise(1)]).await);
    assert_eq!(failed.kind(), ErrorKind::Config);
    assert!(failed.to_string().contains("a part of the path is a file and not a folder"), "{failed}");
}
