//! Services for work: `GitHub`, `HubSpot`, `Slack`.

use serde_json::{Value, json};
use towpath_testkit::http::Response;

use super::{Example, column, committed, guarded, page};

fn issue(repository: &str, number: u64) -> Value {
    let api = format!("https://api.github.com/repos/{repository}");
    json!({
        "id": 1_000 * repository.len() as u64 + number, "node_id": format!("I_{number}"), "number": number,
        "url": format!("{api}/issues/{number}"), "repository_url": api, "title": format!("Issue {number}"),
        "state": if number.is_multiple_of(2) { "open" } else { "closed" }, "locked": false, "assignees": [],
        "user": { "login": "octocat", "id": 1, "type": "User", "site_admin": false },
        "labels": [{ "id": 1, "name": "bug", "color": "d73a4a", "default": true }], "milestone": null, "comments": 0,
        "created_at": "2024-01-01T00:00:00Z", "updated_at": format!("2024-01-{:02}T10:00:00Z", number % 28 + 1),
        "closed_at": null, "body": null,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn github() {
    let server = guarded("authorization", "Bearer gh-token", |request| {
        let parts: Vec<_> = request.path.trim_matches('/').split('/').collect();
        let repository = format!("{}/{}", parts[1], parts[2]);
        if request.header("x-github-api-version").is_none() || request.number("per_page") != Some(100) {
            return Response::status(422);
        }
        if parts[3] == "releases" {
            let release =
                json!({ "id": repository.len(), "tag_name": "v1.0.0", "draft": false, "assets": [] });
            return Response::json(&json!([release]));
        }
        let since = request.param("since");
        let all: Vec<_> = (1..=250)
            .map(|number| issue(&repository, number))
            .filter(|issue| since.as_deref().is_none_or(|since| issue["updated_at"].as_str() >= Some(since)))
            .collect();
        let number = request.number("page").unwrap_or(1);
        let (issues, more) = page(&all, (number - 1) * 100, 100);
        let response = Response::json(&Value::from(issues));
        let host = request.header("host").expect("every request has one");
        let next = format!("<http://{host}{}?per_page=100&page={}>; rel=\"next\"", request.path, number + 1);
        if more && since.is_none() { response.header("Link", next) } else { response }
    })
    .await;
    let example = Example::new(
        "github.yaml",
        [("GITHUB_URL", server.url("")), ("GITHUB_TOKEN", "gh-token".to_owned())],
    );
    let report = example.run().await;
    assert_eq!((committed(&report, "issues"), committed(&report, "releases")), (500, 2));
    let issues = example.rows("github/issues");
    assert_eq!(issues.iter().filter(|issue| issue["state"] == "open").count(), 250);
    assert!(issues.iter().all(|issue| issue["user"]["login"] == "octocat" && issue.get("body").is_none()));

    server.clear();
    let report = example.run().await;
    let asked = server.targets();
    assert!(asked.iter().any(|target| target.contains("since=2024-01-28T10")), "{asked:?}");
    assert_eq!(committed(&report, "issues"), 0, "nothing is newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn hubspot() {
    let server = guarded("authorization", "Bearer hub-token", |request| {
        let kind = request.path.rsplit('/').next().unwrap_or_default();
        let asked = request.param("properties").unwrap_or_default();
        let all: Vec<_> = (1..=230)
            .map(|id| {
                let value = |name: &str| (name.to_owned(), json!(format!("{name} {id}")));
                let properties: serde_json::Map<_, _> = asked.split(',').map(value).collect();
                json!({ "id": id.to_string(), "properties": properties, "archived": false,
                        "createdAt": "2023-05-01T08:00:00.000Z", "updatedAt": "2024-05-01T08:00:00.000Z" })
            })
            .collect();
        let start = request.number("after").unwrap_or(0);
        let (results, more) = page(&all, start, 100);
        let next = (start + 100).to_string();
        let mut body = json!({ "results": results });
        if more {
            let link = format!("https://api.hubapi.com/crm/v3/objects/{kind}?after={next}");
            body["paging"] = json!({ "next": { "after": next, "link": link } });
        }
        Response::json(&body)
    })
    .await;
    let variables = [("HUBSPOT_URL", server.url("")), ("HUBSPOT_TOKEN", "hub-token".to_owned())];
    let example = Example::new("hubspot.yaml", variables);
    let report = example.run().await;
    assert_eq!((committed(&report, "contacts"), committed(&report, "companies")), (230, 230));
    let contacts = example.rows("hubspot/contacts");
    assert_eq!(column(&contacts, "/properties/email").last().map(String::as_str), Some("email 99"));
    assert_eq!(column(&example.rows("hubspot/companies"), "/properties/domain").len(), 230);
}

#[tokio::test(flavor = "multi_thread")]
async fn slack() {
    let server = guarded("authorization", "Bearer xoxb-token", |request| {
        let start = request.param("cursor").and_then(|cursor| cursor.strip_prefix("c=")?.parse().ok()).unwrap_or(0);
        let (key, all): (_, Vec<Value>) = match request.path.as_str() {
            "/users.list" => {
                let user = |n| json!({ "id": format!("U{n:04}"), "team_id": "T1", "name": format!("user{n}"), "deleted": false,
                                       "profile": { "real_name": format!("User {n}"), "email": null }, "is_bot": n == 7 });
                ("members", (0..450).map(user).collect())
            }
            "/conversations.list" => {
                let channel = |n| json!({ "id": format!("C{n}"), "name": format!("channel-{n}"), "is_channel": true,
                                          "num_members": n, "topic": { "value": "", "creator": "", "last_set": 0 } });
                ("channels", (0..3).map(channel).collect())
            }
            "/conversations.history" if request.param("channel").as_deref() == Some("C061EG9T2") => {
                return Response::json(&json!({ "ok": false, "error": "not_in_channel" }));
            }
            "/conversations.history" => {
                let oldest = request.param("oldest").unwrap_or_default();
                let message = |n: u32| json!({ "type": "message", "user": "U0001", "text": format!("message {n}"),
                                          "ts": format!("1716840{:03}.001900", 300 - n) });
                let all = (0..250).map(message).filter(|message| message["ts"].as_str() >= Some(oldest.as_str()));
                ("messages", all.collect())
            }
            _ => return Response::json(&json!({ "ok": false, "error": "unknown_method" })),
        };
        let (items, more) = page(&all, start, 200);
        let next = if more { format!("c={}", start + 200) } else { String::new() };
        let mut body = json!({ "ok": true, "response_metadata": { "next_cursor": next } });
        body[key] = items.into();
        Response::json(&body)
    })
    .await;
    let variables = [("SLACK_URL", server.url("")), ("SLACK_TOKEN", "xoxb-token".to_owned())];
    let example = Example::new("slack.yaml", variables);
    let report = example.run().await;
    let counts = ["users", "channels", "messages"].map(|stream| committed(&report, stream));
    assert_eq!(counts, [450, 3, 250]);
    let warnings = report["streams"][2]["warnings"].to_string();
    assert!(warnings.contains("C061EG9T2"), "{report:#}");
    let messages = example.rows("slack/messages");
    assert_eq!(column(&messages, "/ts")[0], "1716840051.001900", "times stay text");
    assert_eq!(column(&example.rows("slack/users"), "/profile/real_name")[0], "User 0");

    server.clear();
    let report = example.run().await;
    assert!(server.targets().iter().any(|target| target.contains("oldest=1716840300.001900")));
    assert_eq!(committed(&report, "messages"), 0);
}
