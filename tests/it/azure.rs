//! Blobs of a real server, by the command: from files, and back.

use serde_json::Value;
use towpath_tests::Project;

use super::stores::{Azure, Place};

#[tokio::test]
async fn files_become_blobs_and_blobs_files_and_only_new_ones_are_loaded_later() {
    let place = Azure::new().await;
    let project = Project::new();
    project.write("in/day=1/a.csv", "id\n1\n2\n");
    project.write("in/day=2/a.csv", "id\n3\n");
    project.write(
        "pipeline.yaml",
        format!(
            "name: there\nconnections:\n  lake: {{ {} }}\nstreams:\n  days:\n    \
             source: {{ connector: file, path: \"in/**/*.csv\", incremental: true }}\n    \
             sink: {{ connection: lake, path: \"{}\", partition_by: [day] }}\n    \
             write_disposition: append\n",
            place.connection(),
            place.key("{stream}/{part}.parquet")
        ),
    );
    project.write(
        "back.yaml",
        format!(
            "name: back\nconnections:\n  lake: {{ {} }}\nstreams:\n  days:\n    \
             source: {{ connection: lake, path: \"{}\", incremental: true }}\n    \
             sink: {{ connector: file, path: \"out/{{part}}.ndjson\" }}\n    write_disposition: append\n",
            place.connection(),
            place.key("days/**/*.parquet")
        ),
    );
    for run in 1..=3 {
        for file in ["pipeline.yaml", "back.yaml"] {
            let ended = project.towpath(&["run", file]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        let more = if run == 3 { vec![4] } else { vec![] };
        assert_eq!(project.ids("out"), [vec![1, 2, 3], more].concat(), "run {run}");
        if run == 2 {
            project.write("in/day=2/b.csv", "id\n4\n");
        }
    }
    let rows = project.rows("out");
    assert_eq!(rows.iter().find(|row| row["id"] == 4).map(|row| &row["day"]), Some(&Value::from(2)));
    let swept = project.towpath(&["state", "sweep", "pipeline.yaml", "--json"]);
    let swept: Value =
        serde_json::from_str(&swept.stdout).unwrap_or_else(|error| panic!("{error}: {swept:?}"));
    assert_eq!(swept["swept"][0]["removed"], serde_json::json!([]), "{swept:#}");
}
