//! Google Cloud Storage by the command, on a server in this process.

use std::sync::Arc;

use towpath_testkit::gcs::GcsServer;
use towpath_tests::{Ended, Project, blocking};

const BUCKET: &str = "landing";

/// Runs the command while the server answers.
async fn towpath(project: &Arc<Project>, arguments: Vec<String>) -> Ended {
    let project = project.clone();
    blocking(move || project.towpath(&arguments.iter().map(String::as_str).collect::<Vec<_>>())).await
}

async fn copied(project: &Arc<Project>, from: &str, to: &str, more: Vec<String>) {
    let arguments = ["copy", from, to].map(str::to_owned).into_iter().chain(more).collect();
    let ended = towpath(project, arguments).await;
    assert_eq!(ended.code, Some(0), "{from} to {to}: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_into_a_bucket_and_come_back_and_only_new_ones_later() {
    let server = GcsServer::start().await;
    let project = Arc::new(Project::new());
    project.write("in/1.csv", "id,country\n1,DE\n2,FR\n");
    let connection = format!(
        "connector: gcs, endpoint: \"{}\", credentials_file: key.json, bucket: {BUCKET}",
        server.url()
    );
    project.write(
        "pipeline.yaml",
        format!(
            "name: there\nconnections:\n  lake: {{ {connection} }}\nstreams:\n  orders:\n    source: {{ connector: file, \
             path: \"in/*.csv\", incremental: true }}\n    sink: {{ connection: lake, path: \"orders/{{part}}.parquet\", \
             partition_by: [country] }}\n    write_disposition: append\n"
        ),
    );
    project.write(
        "back.yaml",
        format!(
            "name: back\nconnections:\n  lake: {{ {connection} }}\nstreams:\n  orders:\n    source: {{ connection: lake, \
             path: \"orders/**/*.parquet\", incremental: true }}\n    sink: {{ connector: file, path: \"out/{{part}}.ndjson\" }}\n    \
             write_disposition: append\n"
        ),
    );
    project.write("key.json", server.service_account());
    for expected in [vec![1, 2], vec![1, 2, 3]] {
        for file in ["pipeline.yaml", "back.yaml"] {
            let ended = towpath(&project, vec!["run".to_owned(), file.to_owned()]).await;
            assert_eq!(ended.code, Some(0), "{file}: {ended:?}");
        }
        assert_eq!(project.ids("out"), expected);
        project.write("in/2.csv", "id,country\n3,DE\n");
    }
    assert!(server.uploads(BUCKET).is_empty(), "nothing is left half done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uri_is_copied_and_looked_into() {
    let server = GcsServer::start().await;
    server.put("public", "part-1.csv", "id\n1\n");
    server.put("public", "part-2.csv", "id\n2\n");
    let project = Arc::new(Project::new());
    let endpoint = server.url().replace(':', "%3A").replace('/', "%2F");
    let uri = format!("gs://public/part-*.csv?endpoint={endpoint}&anonymous=true");
    copied(&project, &uri, "file:out/all.ndjson", Vec::new()).await;
    assert_eq!(project.ids("out"), [1, 2]);
    let found = towpath(&project, ["discover", &uri, "--pipeline"].map(str::to_owned).into()).await;
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.contains("gs://public/part-*.csv"), "{}", found.stdout);
}
