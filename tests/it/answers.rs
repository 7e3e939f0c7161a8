//! What becomes of answers, as a connection and its streams say.

use std::sync::Arc;

use serde_json::json;
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_tests::{Project, blocking};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_says_of_an_answer_counts_and_else_what_its_connection_says() {
    let server = TestServer::start(|request: Request| async move {
        match request.param("shop").as_deref() {
            Some("gone") => Response::status(410),
            Some("closed") => Response::status(403),
            _ => Response::json(&json!([{ "id": 1 }])),
        }
    })
    .await;
    let project = Arc::new(Project::new());
    let text = format!(
        "name: shops\non_error: continue\nconnections:\n  \
           api: {{ connector: http, base_url: \"{}\", query: {{ shop: \"{{shop}}\" }}, \
             responses: [{{ status: [403, 410], action: empty }}] }}\n\
         sink: {{ connector: file, path: \"out/{{stream}}.ndjson\" }}\nstreams:\n  \
           lenient:\n    source: {{ connection: api, path: /a, params: {{ shop: [open, gone, closed] }} }}\n  \
           strict:\n    source: {{ connection: api, path: /b, params: {{ shop: [open, gone, closed] }}, \
             responses: [{{ status: 403, action: fail, message: the shop is closed }}] }}\n",
        server.url("")
    );
    project.write("pipeline.yaml", text);
    let at = project.clone();
    let (ended, report) = blocking(move || at.run()).await;
    assert_eq!(ended.code, Some(1), "{report:#}");
    let failures = |name: &str| {
        let streams = report["streams"].as_array().expect("there are streams");
        let stream = streams.iter().find(|stream| stream["name"] == name).expect("it ran");
        stream["failures"].as_array().expect("failures are listed").clone()
    };
    assert_eq!(failures("lenient"), [json!(null); 0], "{report:#}");
    let strict = failures("strict");
    let messages: Vec<_> = strict.iter().filter_map(|failure| failure["message"].as_str()).collect();
    assert!(matches!(messages[..], [message] if message.contains("the shop is closed")), "{report:#}");
    // What replaces its rows does so as a whole.
    assert_eq!(project.ids("out"), [1], "{report:#}");
}
