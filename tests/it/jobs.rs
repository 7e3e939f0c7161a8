//! Reports that a server prepares.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_tests::{Ended, Project, blocking};

/// A server of reports in two files; the second file of the first ones is lost.
async fn server(lost: usize) -> (TestServer, Arc<AtomicUsize>) {
    let created = Arc::new(AtomicUsize::new(0));
    let count = created.clone();
    let server = TestServer::start(move |request: Request| {
        let count = count.clone();
        async move {
            match (
                request.method.as_str(),
                request.path.trim_matches('/').split('/').collect::<Vec<_>>().as_slice(),
            ) {
                (_, ["customers"]) => Response::json(&json!([{ "id": 7 }])),
                ("POST", ["reports", ..]) => Response::json(&json!({ "id": count.fetch_add(1, SeqCst) + 1 })),
                (_, ["status", job]) => Response::json(
                    &json!({ "files": [format!("/files/{job}/a"), format!("/files/{job}/b")] }),
                ),
                (_, ["files", _, "a"]) => Response::ndjson(&[json!({ "id": 1 }), json!({ "id": 2 })]),
                (_, ["files", job, "b"]) if job.parse::<usize>().is_ok_and(|job| job > lost) => {
                    Response::ndjson(&[json!({ "id": 3 })])
                }
                _ => Response::status(404),
            }
        }
    })
    .await;
    (server, created)
}

fn project(server: &TestServer, stream: &str) -> Arc<Project> {
    let project = Project::new();
    let job =
        "job: { id: $.id, status: { path: \"/status/{job}\", poll_every: 1ms }, result: { url: $.files } }";
    project.write(
        "pipeline.yaml",
        format!(
            "name: reports\nconnections:\n  api: {{ connector: http, base_url: \"{}\" }}\n\
             sink: {{ connector: file, path: \"out/{{stream}}-{{run}}-{{part}}-{{sequence}}.ndjson\" }}\nstreams:\n  \
               customers: {{ load: false, source: {{ connection: api, path: /customers }} }}\n  \
               report:\n    source: {{ connection: api, path: /reports, method: POST, format: ndjson, {job} }}\n    {stream}\n  \
               of_customer:\n    for_each: customers\n    \
                 source: {{ connection: api, path: \"/reports/{{parent.id}}\", method: POST, format: ndjson, {job} }}\n",
            server.url("")
        ),
    );
    Arc::new(project)
}

async fn towpath(project: &Arc<Project>, arguments: &'static [&'static str]) -> Ended {
    let project = project.clone();
    blocking(move || project.towpath(arguments)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_creates_no_report_and_says_what_it_has_not_tested() {
    let (server, created) = server(0).await;
    let project = project(&server, "");
    let told = towpath(&project, &["check", "pipeline.yaml"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("note    report: no job was created to test this"), "{told:?}");
    assert!(told.stderr.contains("note    of_customer: `"), "{told:?}");
    let told = towpath(&project, &["check", "pipeline.yaml", "--json"]).await;
    let checked: Value = serde_json::from_str(&told.stdout).expect("it is JSON");
    let notes = |name: &str| {
        let streams = checked.as_array().expect("there are streams");
        streams.iter().find(|stream| stream["stream"] == name).expect("it was checked")["notes"].to_string()
    };
    assert!(notes("report").contains("404 Not Found to HEAD"), "{checked:#}");
    assert!(notes("of_customer").contains("was not read to test this"), "{checked:#}");
    assert_eq!(towpath(&project, &["discover", "pipeline.yaml"]).await.code, Some(0));
    assert_eq!(created.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_whose_report_is_lost_begins_anew_in_the_next_run() {
    let (server, created) = server(2).await;
    let project = project(&server, "write_disposition: replace");
    let told = towpath(&project, &["run", "pipeline.yaml", "--stream", "report", "--json"]).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains("the job 1 is lost") && told.stdout.contains("run again"), "{told:?}");
    assert!(project.files("out").is_empty(), "nothing of it is seen");
    created.store(2, SeqCst);
    let told = towpath(&project, &["run", "pipeline.yaml", "--stream", "report", "--json"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(project.ids("out"), [1, 2, 3]);
}
