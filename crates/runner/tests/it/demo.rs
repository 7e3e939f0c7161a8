//! `towpath demo`, from end to end.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;

fn demo(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_towpath"))
        .arg("demo")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary that cargo has built runs")
}

/// How many rows the file of a stream has; `None` if there is none.
fn rows(folder: &Path, stream: &str) -> Option<i64> {
    let file = File::open(folder.join(format!("towpath-demo/{stream}.parquet"))).ok()?;
    let reader = SerializedFileReader::new(file).expect("it is a whole Parquet file");
    Some(reader.metadata().file_metadata().num_rows())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the command writes UTF-8")
}

#[test]
fn the_demo_brings_every_row_and_tells_what_it_gained() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), &[]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(rows(folder.path(), "flights"), Some(27_004));
    assert_eq!(rows(folder.path(), "weather"), Some(26_115));
    assert_eq!(rows(folder.path(), "archive"), Some(23_690));
    for expected in [
        "demo: done in ",
        "One after the other this would have taken 58.",
        "towpath-demo/flights.parquet    27,004 rows\n",
        "towpath-demo/pipeline.yaml      the pipeline that ran\n",
        "towpath init",
    ] {
        assert!(told.contains(expected), "`{expected}` is not in:\n{told}");
    }
    let pipeline = fs::read_to_string(folder.path().join("towpath-demo/pipeline.yaml")).unwrap();
    assert!(pipeline.contains("base_url: http://127.0.0.1:"), "{pipeline}");
}

#[test]
fn a_broken_resource_fails_its_stream_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), &["--broken", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(rows(folder.path(), "flights"), Some(27_004));
    assert_eq!(rows(folder.path(), "archive"), Some(23_690));
    assert_eq!(rows(folder.path(), "weather"), None);

    let told: Value = serde_json::from_slice(&output.stdout).expect("`--json` prints JSON");
    let streams = told["report"]["streams"].as_array().unwrap();
    let status = |name: &str| {
        let stream = streams.iter().find(|stream| stream["name"] == name).expect("it is in the report");
        stream["status"].as_str().unwrap()
    };
    assert_eq!(["flights", "weather", "archive"].map(status), ["done", "failed", "done"]);
    let failure = streams[1]["failures"][0]["message"].as_str().unwrap();
    assert!(failure.contains("500 Internal Server Error") && failure.contains("/weather/LGA/7"), "{failure}");
    assert_eq!(told["lost"], Value::Array(Vec::new()));
}
