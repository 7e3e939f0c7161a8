//! Many streams of one source: a stream for each data set that it holds.

use towpath_tests::Project;

fn pipeline(name: &str, datasets: &str) -> String {
    format!(
        "name: all\nstreams:\n  {name}:\n    source: {{ connector: file, path: \"in/*\" }}\n    datasets: {datasets}\n    \
         sink: {{ connector: file, path: \"out/{{stream}}.ndjson\" }}\n"
    )
}

fn project() -> Project {
    let project = Project::new();
    project.write("in/orders.csv", "id\n1\n2\n");
    project.write("in/items.csv", "id\n3\n");
    project.write("in/items_old.csv", "id\n4\n");
    project
}

#[test]
fn each_data_set_that_fits_becomes_a_stream() {
    let project = project();
    project.write("pipeline.yaml", pipeline("\"shop_{dataset}\"", "[\"*\", \"!*_old\"]"));
    let (ended, report) = project.run();
    assert_eq!(ended.code, Some(0), "{report:#}");
    let names: Vec<_> = report["streams"].as_array().unwrap().iter().map(|stream| &stream["name"]).collect();
    assert_eq!(names, ["shop_items", "shop_orders"]);
    assert_eq!(project.files("out").len(), 2);
    assert_eq!(project.ids("out"), [1, 2, 3]);
}

#[test]
fn what_fits_nothing_fails_alone_and_tells_what_there_is() {
    let project = project();
    let good = pipeline("\"{dataset}\"", "[orders]");
    let other = "  \"x_{dataset}\":\n    source: { connector: file, path: \"in/*\" }\n    datasets: [nothing]\n    \
                 sink: { connector: file, path: \"out/{stream}.ndjson\" }\n";
    project.write("pipeline.yaml", good + other);
    let (ended, report) = project.run();
    assert_eq!(ended.code, Some(1), "{report:#}");
    assert_eq!(project.ids("out"), [1, 2]);
    let failed = &report["streams"][1]["failures"][0]["message"];
    let text = failed.as_str().unwrap();
    assert!(text.contains("no data set fits nothing") && text.contains("items_old"), "{text}");
}

#[test]
fn a_name_without_a_place_for_the_data_set_is_refused_with_the_line() {
    let project = project();
    project.write("pipeline.yaml", pipeline("shop", "[\"*\"]"));
    let ended = project.towpath(&["run", "pipeline.yaml"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("`{dataset}` is missing") && ended.stderr.contains("shop_{dataset}"),
        "{}",
        ended.stderr
    );
    project.write("pipeline.yaml", pipeline("\"a_{dataset}\"", "[]"));
    let ended = project.towpath(&["check", "pipeline.yaml"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("names no `datasets`"), "{}", ended.stderr);
}

#[test]
fn a_discovered_pipeline_runs_as_it_is() {
    let project = project();
    let ended = project.towpath(&["discover", "in/*", "--pipeline"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("out/{stream}.parquet"), "{}", ended.stdout);
    project.write("pipeline.yaml", ended.stdout.replace(".parquet", ".ndjson"));
    let (ended, report) = project.run();
    assert_eq!(ended.code, Some(0), "{} {report:#}", ended.stderr);
    assert_eq!(project.ids("out"), [1, 2, 3, 4]);
}
