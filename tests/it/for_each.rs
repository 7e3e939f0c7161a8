//! Streams that are read for each row of another: parents and children.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use tokio::sync::watch;
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_tests::{Ended, Project, blocking, lines, signal, until};

const CUSTOMERS: u64 = 300;
const PAGE: u64 = 20;

/// An API of customers in pages, each with two pages of two orders. Order `id`s count up over all customers.
fn shop(request: &Request) -> Response {
    let page = request.number("page").unwrap_or(1) - 1;
    let rows: Vec<Value> = match customer(&request.path) {
        None => {
            let customers = page * PAGE..CUSTOMERS.min((page + 1) * PAGE);
            customers.map(|id| json!({ "id": id, "name": format!("customer {id}") })).collect()
        }
        Some(customer) if page < 2 => {
            let first = customer * 4 + page * 2;
            (first..first + 2).map(|id| json!({ "id": id, "of": customer })).collect()
        }
        Some(_) => Vec::new(),
    };
    Response::json(&json!({ "data": rows }))
}

/// The customer whose orders are asked for.
fn customer(path: &str) -> Option<u64> {
    path.strip_prefix("/customers/")?.strip_suffix("/orders")?.parse().ok()
}

fn pipeline(url: &str, more: &str) -> String {
    format!(
        "name: shop\nconnections:\n  \
           shop: {{ connector: http, base_url: \"{url}\", records: $.data, pagination: {{ type: page_number }}, \
             retry: {{ attempts: 2, base: 1ms, max_delay: 5ms }}{more} }}\n\
         streams:\n  \
           customers: {{ load: false, source: {{ connection: shop, path: /customers }} }}\n  \
           orders:\n    \
             for_each: {{ stream: customers, include: {{ customer_id: id, who: name }} }}\n    \
             source: {{ connection: shop, path: \"/customers/{{parent.id}}/orders\" }}\n    \
             sink: {{ connector: file, path: \"out/{{run}}-{{part}}-{{sequence}}.ndjson\" }}\n    \
             commit: {{ rows: 50 }}\n"
    )
}

async fn run(project: &Arc<Project>) -> (Ended, Value) {
    let project = project.clone();
    blocking(move || project.run()).await
}

async fn towpath(project: &Arc<Project>, arguments: &'static [&'static str]) -> Ended {
    let project = project.clone();
    blocking(move || project.towpath(arguments)).await
}

fn assert_orders(project: &Project) {
    assert_eq!(project.ids("out"), (0..CUSTOMERS * 4).collect::<Vec<_>>());
    for row in project.rows("out") {
        let of = row["of"].as_u64().expect("an order has a customer");
        assert_eq!((&row["customer_id"], &row["who"]), (&json!(of), &json!(format!("customer {of}"))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_killed_anywhere_is_finished_by_the_next_run() {
    for before in [3, 40, 400] {
        let (asked, stalls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let released = watch::Sender::new(false);
        let (count, does_stall, release) = (asked.clone(), stalls.clone(), released.clone());
        let server = TestServer::start(move |request| {
            let waits = count.fetch_add(1, SeqCst) >= before && does_stall.load(SeqCst);
            let mut release = release.subscribe();
            async move {
                if waits {
                    let _ = release.wait_for(|released| *released).await;
                }
                shop(&request)
            }
        })
        .await;
        let project = Arc::new(Project::new());
        project.write("pipeline.yaml", pipeline(&server.url(""), ", max_in_flight: 4"));
        let mut child = project.start();
        until("the server stalls", || asked.load(SeqCst) > before).await;
        if before > 300 {
            until("rows are committed", || !project.files("out").is_empty()).await;
        }
        signal(&child, "KILL");
        blocking(move || child.wait()).await.expect("it was killed");
        stalls.store(false, SeqCst);
        server.clear();
        let (ended, report) = run(&project).await;
        assert_eq!(ended.code, Some(0), "{report:#}");
        assert_orders(&project);
        if before > 300 {
            assert_eq!(report["streams"][0]["resumed"], true, "{report:#}");
            let again = server.targets().iter().filter(|target| target.contains("/orders")).count() as u64;
            assert!(again < CUSTOMERS * 3, "what was committed is not asked for again: {again}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_file_are_the_parents_of_requests() {
    let server = TestServer::start(|request| async move {
        let id: u64 = request.param("id").and_then(|id| id.parse().ok()).expect("an id is asked for");
        assert_eq!(request.header("x-region"), Some("eu"));
        Response::json(&json!([{ "id": id, "price": id * 10 }]))
    })
    .await;
    let project = Arc::new(Project::new());
    let header = std::iter::once("sku,region,active".to_owned());
    let rows = (0..200).map(|sku| format!("{sku},{},{}", if sku == 7 { "" } else { "eu" }, sku % 2 == 1));
    project.write("skus.csv", lines(header.chain(rows)));
    let text = format!(
        "name: prices\nsink: {{ connector: file, path: \"out/{{stream}}-{{run}}-{{part}}.ndjson\" }}\nstreams:\n  \
           skus:\n    \
             load: false\n    \
             source: {{ connector: file, path: skus.csv }}\n    \
             transform: [{{ filter: active }}, {{ rename: {{ sku: id }} }}]\n  \
           prices:\n    \
             for_each: {{ stream: skus, include: [region], missing: skip }}\n    \
             source: {{ connector: http, url: \"{}\", query: {{ id: \"{{parent.id}}\" }}, headers: {{ x-region: \"{{parent.region}}\" }} }}\n",
        server.url("/prices")
    );
    project.write("pipeline.yaml", &text);
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(0), "{report:#}");
    let expected: Vec<u64> = (0..200).filter(|id| id % 2 == 1 && *id != 7).collect();
    assert_eq!(project.ids("out"), expected);
    assert!(project.rows("out").iter().all(|row| row["region"] == "eu"));
    let warnings = report["streams"][0]["warnings"].to_string();
    assert!(warnings.contains("1 row of `skus` could not be used"), "{warnings}");

    project.write("pipeline.yaml", text.replace("missing: skip", "missing: error"));
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(1), "{report:#}");
    let message = report["streams"][0]["failures"][0]["message"].to_string();
    assert!(message.contains("a row of `skus` has no `region`") && message.contains("id=7"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_knows_children() {
    let server = TestServer::start(|request| async move { shop(&request) }).await;
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", pipeline(&server.url(""), ""));

    let checked = towpath(&project, &["check", "pipeline.yaml", "--json"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let asked = server.targets();
    assert!(asked.iter().any(|target| target == "/customers/0/orders?page=1"), "{asked:?}");

    server.clear();
    let previewed = towpath(&project, &["preview", "pipeline.yaml", "--limit", "6", "--json"]).await;
    let rows: Value = serde_json::from_str(&previewed.stdout).expect("it is JSON");
    assert_eq!(rows[0]["rows"].as_array().map(Vec::len), Some(6), "{previewed:?}");
    assert_eq!(rows[0]["rows"][5], json!({ "id": 5, "of": 1, "customer_id": 1, "who": "customer 1" }));
    let parents = server.targets().iter().filter(|target| target.starts_with("/customers?")).count();
    assert!(parents < 4, "only the first rows of the parent are read: {parents}");

    let planned = towpath(&project, &["plan", "pipeline.yaml", "--json"]).await;
    let plans: Value = serde_json::from_str(&planned.stdout).expect("it is JSON");
    assert_eq!(plans[0]["count"], CUSTOMERS, "{planned:?}");
    let first = plans[0]["splits"][0].as_str().expect("a split has a name");
    assert!(first.ends_with("/customers/0/orders [customers 1.1: id=0]"), "{first}");

    let discovered = towpath(&project, &["discover", "pipeline.yaml", "--json"]).await;
    assert!(discovered.stdout.contains("customer_id"), "{discovered:?}");
    let drafted = towpath(&project, &["discover", "pipeline.yaml", "--pipeline"]).await;
    assert_eq!(drafted.code, Some(0), "{drafted:?}");
    assert!(drafted.stderr.contains("orders is read for each row of customers"), "{drafted:?}");

    let chosen = towpath(&project, &["run", "pipeline.yaml", "--stream", "orders", "--json"]).await;
    assert_eq!(chosen.code, Some(0), "{chosen:?}");
    assert_orders(&project);

    let copied = towpath(&project, &["copy", "http://127.0.0.1:1/{parent.id}", "x.ndjson"]).await;
    assert_eq!(copied.code, Some(2), "{copied:?}");
    assert!(copied.stderr.contains("has no parent"), "{copied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_gone_fails_alone() {
    let server = TestServer::start(|request| async move {
        if customer(&request.path) == Some(17) { Response::status(404) } else { shop(&request) }
    })
    .await;
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", format!("{}    on_error: continue\n", pipeline(&server.url(""), "")));
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(1), "{report:#}");
    let stream = &report["streams"][0];
    assert_eq!((&stream["splits_failed"], &stream["rows_committed"]), (&json!(1), &json!(CUSTOMERS * 4 - 4)));
    let split = stream["failures"][0]["split"].as_str().expect("the failure names its split");
    assert!(split.ends_with("/customers/17/orders [customers 1.18: id=17]"), "{split}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_and_its_children_share_a_connection_that_takes_one_request() {
    let server = TestServer::start(|request| async move {
        if customer(&request.path).is_some() {
            return shop(&request);
        }
        // A body that takes longer than the first children, and is one request.
        let start = request
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let text = lines((0..CUSTOMERS).map(|id| format!("{{\"id\":{id},\"name\":\"customer {id}\"}}")));
        let rest = text.as_bytes()[start.unwrap_or(0_usize)..].to_vec();
        let chunks: Vec<_> = rest.chunks(2048).map(<[u8]>::to_vec).collect();
        let response = Response::chunks("application/x-ndjson", chunks);
        match start {
            None => response.header("accept-ranges", "bytes"),
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", text.len() - 1, text.len());
                response.with_status(206).header("content-range", range)
            }
        }
    })
    .await;
    let project = Arc::new(Project::new());
    let text = pipeline(&server.url(""), ", max_in_flight: 1").replace(
        "path: /customers }",
        "path: /customers, records: null, format: ndjson, pagination: { type: none } }",
    );
    project.write("pipeline.yaml", text);
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(0), "{report:#}");
    assert_orders(&project);
}

/// Customers with an order each, at a time that can be moved, and with a tag.
fn dated(request: &Request, times: &[AtomicUsize]) -> Response {
    let Some(customer) = customer(&request.path) else {
        let rows: Vec<Value> = (0..times.len()).map(|id| json!({ "id": id })).collect();
        return Response::json(&json!({ "data": rows }));
    };
    let at = times[usize::try_from(customer).expect("there are few")].load(SeqCst);
    let tag = format!("\"{at}\"");
    if request.header("if-none-match") == Some(&*tag) {
        return Response::status(304).header("etag", tag);
    }
    let since = request.number("since").unwrap_or(0);
    let rows: Vec<Value> =
        (at as u64 > since).then(|| json!({ "id": customer, "at": at })).into_iter().collect();
    Response::json(&json!({ "data": rows })).header("etag", tag)
}

/// Runs a pipeline of these orders again after a customer's order has been moved, and gives the `id`s that each run loads.
async fn loads(options: &str, stream: &str, moved: &[(usize, usize)]) -> (Vec<Vec<u64>>, TestServer) {
    let times: Arc<Vec<AtomicUsize>> = Arc::new((0..40).map(|id| AtomicUsize::new(100 + id)).collect());
    let shared = times.clone();
    let server = TestServer::start(move |request| {
        let times = shared.clone();
        async move { dated(&request, &times).delay(std::time::Duration::from_millis(20)) }
    })
    .await;
    let project = Arc::new(Project::new());
    let text = format!(
        "name: shop\nconnections:\n  api: {{ connector: http, base_url: \"{}\", records: $.data, max_in_flight: 8 }}\n\
         streams:\n  customers: {{ load: false, source: {{ connection: api, path: /customers }} }}\n  \
           orders:\n    for_each: customers\n    {stream}\n    \
             source: {{ connection: api, path: \"/customers/{{parent.id}}/orders\", {options} }}\n    \
             sink: {{ connector: file, path: \"out/{{run}}-{{part}}-{{sequence}}.ndjson\" }}\n",
        server.url("")
    );
    project.write("pipeline.yaml", text);
    let mut loaded = Vec::new();
    for step in std::iter::once(None).chain(moved.iter().map(Some)) {
        if let Some((customer, at)) = step {
            times[*customer].store(*at, SeqCst);
        }
        server.clear();
        let before = project.ids("out");
        let (ended, report) = run(&project).await;
        assert_eq!(ended.code, Some(0), "{report:#}");
        let mut now = project.ids("out");
        for id in before {
            let at = now.iter().position(|known| *known == id).expect("nothing is taken away");
            now.remove(at);
        }
        loaded.push(now);
    }
    (loaded, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_reads_only_the_documents_that_have_changed() {
    let all: Vec<u64> = (0..40).collect();
    let (loaded, server) = loads("conditional: true", "", &[(7, 107), (7, 50), (39, 200)]).await;
    assert_eq!(loaded, [all, vec![], vec![7], vec![39]]);
    assert_eq!(server.targets().len(), 41, "each is asked for once");
    assert!(server.peak() > 4, "for some rows at once: {}", server.peak());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_looks_back_before_its_cursors_last_value() {
    let all: Vec<u64> = (0..40).collect();
    let since = "query: { since: \"{since}\" }, params: { since: { cursor: true, lookback: 10 } }";
    // The last value is 139, of customer 39; a late row of customer 0 is behind 129, and one of customer 1 is not.
    let (loaded, _) = loads(since, "cursor: at", &[(0, 135), (1, 120)]).await;
    let back: Vec<u64> = (30..40).collect();
    let with_late = [vec![0], back].concat();
    assert_eq!(loaded, [all, with_late.clone(), with_late]);
}
