//! The sink: rows that a server does not take.

use serde_json::json;
use towpath_core::{ErrorKind, Json, Result};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::sink_rows::{body, people, reasons, refusal, send, writer};
use crate::support::{always, with};

#[tokio::test]
async fn a_row_that_the_server_refuses_is_given_back_with_its_answer() {
    let answer = |request: Request| async move {
        match body(&request)["id"].as_i64().unwrap() {
            1 => Response::status(200),
            2 => Response::json(&json!({"error": "taken", "key": "t0ken-1234"})).with_status(422),
            3 => Response::status(409),
            _ => Response::text("no").with_status(400),
        }
    };
    let server = TestServer::start(answer).await;
    let rows = json!([[1, "a"], [2, "b"], [3, "c"], [4, "d"]]);
    let options = json!({"rows": "single", "auth": {"type": "bearer", "token": "t0ken-1234"}});
    let staged = send(with(server.url("/in/{id}?token=x"), options.clone()), rows.clone()).await;
    assert_eq!(staged.rows, 1);
    assert_eq!(
        reasons(&staged),
        [
            (
                json!({"id": 2, "name": "b"}),
                "the server answered 422 Unprocessable Entity: {\"error\":\"taken\",\"key\":\"***\"}"
                    .to_owned()
            ),
            (json!({"id": 3, "name": "c"}), "the server answered 409 Conflict".to_owned()),
            (json!({"id": 4, "name": "d"}), "the server answered 400 Bad Request: no".to_owned()),
        ]
    );
    assert!(staged.rejected.iter().any(|r| r.place == server.url("/in/2?token=***")), "{staged:?}");
    // What is there already is no refusal where that is said, and the reason is taken from where it stands.
    let mut more = options.clone();
    more["accept"] = json!([409]);
    more["refuse"] = json!([422, 400, 409]);
    more["rejected"] = json!({"path": "$", "reason": "$.error"});
    let staged = send(with(server.url("/in"), more), rows.clone()).await;
    assert_eq!(staged.rows, 2);
    assert_eq!(reasons(&staged)[0].1, "the server answered 422 Unprocessable Entity: taken");
    // Without it, such an answer is an error.
    let mut less = options;
    less["refuse"] = json!([]);
    let mut writer = writer(with(server.url("/in"), less)).await;
    let error = writer.write(people(&rows)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::DataInvalid, false));
}

#[tokio::test]
async fn a_refused_batch_is_given_back_where_asked() {
    let server = always(Response::text("bad").with_status(422)).await;
    let staged = send(with(server.url("/"), json!({"refuse": [422]})), json!([[1, "a"], [2, "b"]])).await;
    assert_eq!((staged.rows, staged.rejected.len()), (0, 2));
    let error = refusal(with(server.url("/"), json!({"refuse": [429]}))).await;
    assert_eq!(error.message(), "`refuse` cannot hold 429");
    let error = refusal(with(server.url("/"), json!({"accept": [200]}))).await;
    assert_eq!(error.message(), "`accept` cannot hold 200");
}

/// Sends four rows to a server that answers this, and gives those that were refused.
async fn answered(answer: Json, rejected: Json) -> Result<Vec<(i64, String)>> {
    let server = always(Response::json(&answer).with_status(207)).await;
    let mut writer = writer(with(server.url("/"), json!({ "rejected": rejected }))).await;
    writer.write(people(&json!([[10, "a"], [11, "b"], [12, "c"], [13, "d"]]))).await?;
    let staged = writer.finish().await?;
    assert_eq!(staged.rows + staged.rejected.len() as u64, 4);
    Ok(reasons(&staged).into_iter().map(|(row, reason)| (row["id"].as_i64().unwrap(), reason)).collect())
}

fn told(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(id, reason)| (*id, (*reason).to_owned())).collect()
}

#[tokio::test]
async fn a_bulk_answer_names_refused_rows_by_number() {
    let answer = json!({"ok": 2, "errors": [{"index": 3, "message": "too long"}, {"index": "1", "message": "taken"}, {"index": 1, "message": "and old"}]});
    let rejected = json!({"path": "$.errors[*]", "index": "$.index", "reason": "$.message"});
    let found = answered(answer.clone(), rejected).await.unwrap();
    assert_eq!(found, told(&[(11, "taken; and old"), (13, "too long")]));
    let found = answered(answer, json!({"path": "$.errors", "index": "$.index"})).await.unwrap();
    assert_eq!(found[1], (13, "{\"index\":3,\"message\":\"too long\"}".to_owned()));
    let rejected = json!({"path": "$.errors[*]", "index": "$.index"});
    assert!(answered(json!({"errors": null}), rejected.clone()).await.unwrap().is_empty());
    let error = answered(json!({"errors": [{"index": 9}]}), rejected.clone()).await.unwrap_err();
    assert!(error.message().starts_with("the server refuses a row that was not sent: number 9"), "{error}");
    let error = answered(json!({"errors": [{"row": 9}]}), rejected).await.unwrap_err();
    assert!(error.message().contains("without its number at `$.index`"), "{error}");
}

#[tokio::test]
async fn a_bulk_answer_names_refused_rows_by_their_key() {
    let answer = json!([{"ref": {"id": "12"}, "why": "gone"}]);
    let rejected = json!({"path": "$[*]", "key": {"id": "$.ref.id"}, "reason": "$.why"});
    assert_eq!(answered(answer.clone(), rejected).await.unwrap(), told(&[(12, "gone")]));
    let wrong = json!({"path": "$[*]", "key": {"name": "$.ref.id"}});
    let error = answered(answer, wrong).await.unwrap_err();
    assert!(error.message().contains("name = 12"), "{error}");
}

#[tokio::test]
async fn a_bulk_answer_has_an_element_for_each_row() {
    // As Elasticsearch and Salesforce answer.
    let answer = json!({"errors": true, "items": [
        {"index": {"status": 201}}, {"index": {"status": 400, "error": {"reason": "mapping"}}},
        {"index": {"status": 201}}, {"index": {"status": 201, "error": null}},
    ]});
    let rejected = json!({"path": "$.items[*]", "reason": "$.index.error.reason"});
    assert_eq!(answered(answer, rejected).await.unwrap(), told(&[(11, "mapping")]));
}

#[tokio::test]
async fn a_bulk_answer_that_is_no_json_is_an_error() {
    let server = always(Response::text("<ok/>")).await;
    let options = with(server.url("/"), json!({"rejected": {"path": "$.errors"}}));
    let mut writer = writer(options).await;
    let error = writer.write(people(&json!([[1, "a"]]))).await.unwrap_err();
    assert!(error.message().starts_with("the answer is no JSON"), "{error}");
    let server = always(Response::status(204)).await;
    let options = with(server.url("/"), json!({"rejected": {"path": "$.errors"}}));
    assert_eq!(send(options, json!([[1, "a"]])).await.rows, 1);
}
