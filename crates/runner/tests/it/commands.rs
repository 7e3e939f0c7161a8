//! Each command does what it says.

use serde_json::json;

use crate::place::{ORDERS, PIPELINE, Place};

const BIG_ORDERS: &str = "{\"id\":1,\"amount\":1.5}\n{\"id\":2,\"amount\":20.0}\n";

#[test]
fn run_moves_rows_and_reports_to_standard_error() {
    let place = Place::of_orders();
    let told = place.run(&["run", "shop.yaml"]).ended(0);
    assert_eq!(place.read("out/orders.ndjson"), BIG_ORDERS);
    assert_eq!(told.stdout, "");
    told.says("shop: done in ").says("orders  done       2").says("guarantee  exactly once: orders");
    assert!(!told.stderr.contains('\u{1b}'), "colours without a terminal: {}", told.stderr);
}

#[test]
fn run_with_json_prints_the_report_and_nothing_else() {
    let told = Place::of_orders().run(&["run", "shop.yaml", "--json"]).ended(0);
    let report = told.json();
    assert_eq!((&report["pipeline"], &report["status"]), (&json!("shop"), &json!("done")));
    assert_eq!(report["streams"][0]["rows_committed"], 2);
    assert_eq!(told.stderr, "");
}

#[test]
fn run_quietly_says_nothing_unless_something_did_not_make_it() {
    let place = Place::of_orders();
    assert_eq!(place.run(&["run", "shop.yaml", "--quiet"]).ended(0).stderr, "");
    place.write("shop.yaml", &PIPELINE.replace("orders.csv", "gone.csv"));
    place.run(&["run", "shop.yaml", "--quiet"]).ended(1).says("gone.csv");
}

#[test]
fn run_takes_the_streams_that_are_named() {
    let second = "  more: { source: { connector: file, path: orders.csv }, sink: { connector: file, path: more.csv } }\n";
    let place = Place::with(&[("orders.csv", ORDERS), ("shop.yaml", &format!("{PIPELINE}{second}"))]);
    place.run(&["run", "shop.yaml", "--stream", "more"]).ended(0);
    assert!(place.path("more.csv").exists() && !place.path("out").exists());
    let told = place.run(&["run", "shop.yaml", "--stream", "mroe"]).ended(2);
    told.says("there is no stream `mroe`").says("did you mean `more`?");
}

#[test]
fn check_tells_both_sides_of_each_stream() {
    let place = Place::of_orders();
    let told = place.run(&["check", "shop.yaml"]).ended(0);
    told.says("ok      orders source").says("ok      orders sink");
    assert!(!place.path("out/orders.ndjson").exists(), "a check moves nothing");
    place.write("shop.yaml", &PIPELINE.replace("orders.csv", "gone.csv"));
    let told = place.run(&["check", "shop.yaml", "--json"]).ended(1);
    assert_eq!(told.json()[0]["source"]["kind"], "not_found");
    assert_eq!(told.json()[0]["sink"], json!(null));
}

#[test]
fn plan_shows_columns_and_splits_and_moves_nothing() {
    let place = Place::of_orders();
    let told = place.run(&["plan", "shop.yaml"]).ended(0);
    for expected in ["orders: replace, 1 split", "amount  Float64", "split orders.csv"] {
        assert!(told.stdout.contains(expected), "{}", told.stdout);
    }
    assert!(!place.path("out/orders.ndjson").exists());
    let plans = place.run(&["plan", "shop.yaml", "--json"]).ended(0).json();
    assert_eq!((&plans[0]["stream"], &plans[0]["count"]), (&json!("orders"), &json!(1)));
}

#[test]
fn preview_shows_the_first_rows_after_the_transforms() {
    let place = Place::of_orders();
    let told = place.run(&["preview", "shop.yaml"]).ended(0);
    assert_eq!(told.stdout, "id  amount\n 1     1.5\n 2    20.0\n");
    let told = place.run(&["preview", "shop.yaml", "--limit", "1", "--json"]).ended(0);
    assert_eq!(told.json()[0]["rows"], json!([{"id": 1, "amount": 1.5}]));
}

#[test]
fn discover_looks_into_pipelines_and_into_uris() {
    let place = Place::of_orders();
    for what in ["shop.yaml", "orders.csv", "file:orders.csv"] {
        let found = place.run(&["discover", what, "--json"]).ended(0).json();
        assert_eq!(found[0]["datasets"][0]["source"]["path"], "orders.csv", "{what}: {found}");
    }
    assert!(place.run(&["discover", "orders.csv"]).ended(0).stdout.contains("id Int64, amount Float64"));
}

#[test]
fn copy_needs_no_file_and_takes_options_of_both_sides() {
    let place = Place::with(&[("in.csv", "1;a\n2;b\n")]);
    let options = [
        "--source",
        "format={type: csv, delimiter: ;, header: false}",
        "--source",
        "columns={z: int64, a: string}",
    ];
    place.run(&[&["copy", "in.csv", "out.ndjson"], options.as_slice()].concat()).ended(0);
    assert_eq!(place.read("out.ndjson"), "{\"z\":1,\"a\":\"a\"}\n{\"z\":2,\"a\":\"b\"}\n");
    let told =
        place.run(&["copy", "in.csv", "file:out.csv", "--transform", "filter: column_1 > 5", "--json"]);
    assert_eq!(told.json()["streams"][0]["name"], "in");
}

#[test]
fn copy_shows_a_wrong_option_in_the_pipeline_that_it_stands_for() {
    let place = Place::of_orders();
    let told = place.run(&["copy", "orders.csv", "out.ndjson", "--source", "fromat=csv"]).ended(2);
    told.says("unknown field `fromat`").says("the pipeline of this command:").says("did you mean `format`?");
    place.run(&["copy", "orders.csv", "out.ndjson", "--sink", "format"]).ended(2).says("has no `=`");
    place.run(&["copy", "gopher://a", "out.ndjson"]).ended(2).says("no connector knows `gopher:`");
}

#[test]
fn copy_that_appends_remembers_what_it_read() {
    let place = Place::of_orders();
    let copy = ["copy", "orders.csv", "out/{part}.ndjson", "--source", "incremental=true", "--json"];
    let rows = || place.run(&copy).ended(0).json()["streams"][0]["rows_committed"].clone();
    assert_eq!((rows(), rows()), (json!(3), json!(0)));
}

#[test]
fn connectors_lists_tells_and_derives_features() {
    let place = Place::of_orders();
    assert!(place.run(&["connectors"]).ended(0).stdout.contains("file       yes     yes   file:"));
    let page = place.run(&["connectors", "file"]).ended(0).stdout;
    assert!(
        page.contains("split_size") && page.contains("partition_by") && page.contains("name: sales"),
        "{page}"
    );
    let list = place.run(&["connectors", "--json"]).ended(0).json();
    let file = list.as_array().unwrap().iter().find(|connector| connector["name"] == "file").unwrap();
    assert!(file["source"]["schema"]["properties"]["path"].is_object(), "{file}");
    let needed = place.run(&["connectors", "--needed", "shop.yaml", "--json"]).ended(0).json();
    assert_eq!(needed, json!({"features": ["csv", "file", "json"]}));
    place.run(&["connectors", "fiel"]).ended(2).says("did you mean `file`?");
}

#[test]
fn state_is_shown_and_reset() {
    let place = Place::of_orders();
    let show = || place.run(&["state", "show", "shop.yaml"]).ended(0).stdout;
    assert_eq!(show(), "orders: nothing is remembered; the next run begins anew\n");
    place.run(&["run", "shop.yaml"]).ended(0);
    assert!(show().contains(", finished"), "{}", show());
    place.run(&["state", "reset", "shop.yaml"]).ended(0).says("orders: forgotten");
    assert_eq!(show(), "orders: nothing is remembered; the next run begins anew\n");
}

#[test]
fn init_writes_a_pipeline_that_works_and_never_over_another() {
    let place = Place::with(&[]);
    place.run(&["init", "new"]).ended(0).says("towpath run pipeline.yaml");
    place.run(&["init", "new"]).ended(2).says("is there already");
    let told = place.run(&["copy", "new/landing/orders.csv", "a.csv", "--json"]).ended(0);
    assert_eq!(told.json()["streams"][0]["rows_committed"], 5);
    let pipeline = place.read("new/pipeline.yaml");
    place.write("pipeline.yaml", &pipeline.replace("landing/", "new/landing/"));
    place.run(&["run", "pipeline.yaml"]).ended(0);
    assert_eq!(place.read("lake/orders.ndjson").lines().count(), 4);
}

#[test]
fn schema_and_completions_go_to_standard_output() {
    let place = Place::with(&[]);
    assert_eq!(place.run(&["schema"]).ended(0).json()["title"], "Towpath pipeline");
    assert!(place.run(&["completions", "bash"]).ended(0).stdout.contains("_towpath()"));
}

#[test]
fn logs_are_lines_of_json_when_asked_for() {
    let place = Place::of_orders();
    let arguments = ["run", "shop.yaml", "--quiet", "--log-format", "json"];
    let told = place.run_with(&arguments, &[("RUST_LOG", "trace")]).ended(0);
    assert!(!told.stderr.is_empty(), "something is logged at this level");
    for line in told.stderr.lines() {
        let event: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["level"].is_string(), "{line}");
    }
}
