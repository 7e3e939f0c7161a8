//! From format to format, and back to the same values.

use towpath_tests::Project;

#[test]
fn values_survive_a_tour_through_every_format() {
    let project = Project::new();
    let csv = "id,price,name,day,at,flag\n\
               1,0.10,\"Zoë, \"\"Z\"\"\",2024-02-29,2024-02-29T12:30:00.123456Z,true\n\
               2,99999999.99,,1970-01-01,1969-12-31T23:59:59Z,false\n\
               3,-0.01,\"two\nlines\",9999-12-31,2038-01-19T03:14:08Z,\n";
    project.write("0.csv", csv);
    let tour = [
        "0.csv",
        "1.parquet",
        "2.ndjson.gz",
        "3.avro",
        "4.arrow",
        "5.json",
        "6.csv.zst",
        "7.parquet",
        "8.csv",
    ];
    let columns = "columns={ id: int64, price: \"decimal(10,2)\", name: string, day: date, at: \"timestamp(us, UTC)\", flag: bool }";
    for pair in tour.windows(2) {
        let told = pair[0].contains("csv") || pair[0].contains("json");
        let mut arguments = vec!["copy", pair[0], pair[1]];
        if told {
            arguments.extend(["--source", columns]);
        }
        let ended = project.towpath(&arguments);
        assert_eq!(ended.code, Some(0), "{pair:?}: {}", ended.stderr);
    }
    let rows = |name: &str| {
        project.towpath(&["copy", name, "rows.ndjson", "--source", columns]);
        project.read("rows.ndjson")
    };
    assert_eq!(rows("8.csv"), rows("0.csv"));
    assert!(rows("8.csv").contains("\"price\":99999999.99"), "{}", rows("8.csv"));
}

#[test]
fn compressed_and_plain_files_and_partitions_are_read_together() {
    let project = Project::new();
    project.write("in/country=de/a.ndjson", "{\"id\":1}\n");
    project.write("in/country=fr/b.ndjson", "{\"id\":2}\n");
    assert_eq!(
        project.towpath(&["copy", "in/country=fr/b.ndjson", "in/country=it/c.ndjson.zst"]).code,
        Some(0)
    );
    let ended = project.towpath(&["copy", "in/**/*.{ndjson,ndjson.zst}", "out/rows.ndjson"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut rows: Vec<_> =
        project.rows("out").iter().map(|row| format!("{} {}", row["id"], row["country"])).collect();
    rows.sort();
    assert_eq!(rows, ["1 \"de\"", "2 \"fr\"", "2 \"it\""]);
}
