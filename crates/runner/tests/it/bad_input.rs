//! What bad input gets: a text that helps, and the right exit code.

use crate::place::{ORDERS, PIPELINE, Place};

#[test]
fn mistakes_of_a_file_are_shown_together_with_their_places() {
    let text = PIPELINE.replace("path: orders.csv", "pth: orders.csv").replace("name:", "nmae:");
    let place = Place::with(&[("shop.yaml", &text)]);
    let told = place.run(&["run", "shop.yaml"]).ended(2);
    assert_eq!(
        told.stderr,
        "\
error: unknown field `nmae`
 --> shop.yaml:1:1
  |
1 | nmae: shop
  | ^^^^ did you mean `name`?

error: unknown field `pth`
 --> shop.yaml:4:32
  |
4 |     source: { connector: file, pth: orders.csv }
  |                                ^^^ did you mean `path`?
"
    );
}

#[test]
fn a_pipeline_that_is_not_there_says_how_to_begin() {
    let told = Place::with(&[]).run(&["run", "gone.yaml"]).ended(2);
    told.says("cannot read the pipeline `gone.yaml`").says("`towpath init`");
}

#[test]
fn a_variable_that_is_not_set_is_named_and_one_that_is_set_is_not_shown() {
    let text = PIPELINE.replace("path: orders.csv", "path: \"${INPUT}\", split_size: \"${SIZE}\"");
    let place = Place::with(&[("orders.csv", ORDERS), ("shop.yaml", &text)]);
    place.run(&["run", "shop.yaml"]).ended(2).says("the variable `INPUT` is not set");
    let told =
        place.run_with(&["run", "shop.yaml"], &[("INPUT", "orders.csv"), ("SIZE", "hush-hush")]).ended(2);
    told.says("`${SIZE}` is not a size");
    assert!(!told.stderr.contains("hush"), "{}", told.stderr);
    place.run_with(&["run", "shop.yaml"], &[("INPUT", "orders.csv"), ("SIZE", "1MiB")]).ended(0);
}

#[test]
fn a_failed_stream_leaves_the_others_alone() {
    let second = "  more: { source: { connector: file, path: gone.csv }, sink: { connector: file, path: more.csv } }\n";
    let place = Place::with(&[("orders.csv", ORDERS), ("shop.yaml", &format!("{PIPELINE}{second}"))]);
    let told = place.run(&["run", "shop.yaml"]).ended(1);
    told.says("shop: incomplete").says("failed more").says("gone.csv");
    assert_eq!(place.read("out/orders.ndjson").lines().count(), 2);
}

#[test]
fn a_row_that_is_wrong_is_told_with_its_place_and_ends_with_1() {
    let place = Place::of_orders();
    place.write("orders.csv", "id,amount\n1,5\n2,6,7\n3,8\n");
    place.run(&["run", "shop.yaml"]).ended(1).says("orders.csv:3");
    place.write(
        "shop.yaml",
        &format!("{PIPELINE}on_error: continue\ndead_letter: \"dead/{{part}}.ndjson\"\n"),
    );
    place.run(&["run", "shop.yaml"]).ended(1).says("rejected orders: 1 row\n").says("orders.csv:3");
    assert_eq!(place.read("out/orders.ndjson").lines().count(), 2);
    let dead = std::fs::read_dir(place.path("dead")).unwrap().filter_map(Result::ok);
    let dead: Vec<_> = dead.map(|file| file.path()).filter(|path| path.extension().is_some()).collect();
    assert!(std::fs::read_to_string(&dead[0]).unwrap().contains("orders.csv:3"), "{dead:?}");
}

#[test]
fn a_disposition_that_the_sink_does_not_know_makes_the_pipeline_wrong() {
    let place = Place::of_orders();
    place.write("shop.yaml", &format!("{PIPELINE}    write_disposition: append\n"));
    let told = place.run(&["run", "shop.yaml"]).ended(2);
    told.says("append");
}

#[test]
fn a_command_that_is_wrong_ends_with_2() {
    let place = Place::with(&[]);
    place.run(&["rnu"]).ended(2).says("rnu");
    place.run(&["run"]).ended(2);
}
