//! Blobs of a real server, by the command: from files, and back.

use serde_json::Value;
use towpath_tests::Project;
use url::Url;

/// A container of the server.
const CONTAINER: &str = "landing";

/// A prefix of the test's own.
struct Prefix {
    server: Url,
    authority: String,
    name: String,
}

impl Prefix {
    fn new() -> Self {
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("these tests need a server: run them by `cargo xtask test`, or set {name}")
            })
        };
        Self {
            server: Url::parse(&variable("TOWPATH_TEST_AZURE_URL")).expect("TOWPATH_TEST_AZURE_URL is a URL"),
            authority: variable("TOWPATH_TEST_AZURE_CA"),
            name: format!("test-{:016x}", fastrand::u64(..)),
        }
    }

    /// The options of a connection to the server.
    fn options(&self) -> Vec<(&'static str, String)> {
        let port = self.server.port().expect("the URL has a port");
        vec![
            ("account", self.server.username().to_owned()),
            ("endpoint", format!("https://127.0.0.1:{port}{}", self.server.path())),
            ("access_key", self.server.password().expect("the URL has a password").to_owned()),
            ("ca_certificate", self.authority.clone()),
        ]
    }

    /// A connection of a pipeline file.
    fn connection(&self) -> String {
        let options = self.options().into_iter().map(|(name, value)| format!(", {name}: \"{value}\""));
        format!("{{ connector: azure, container: {CONTAINER}{} }}", options.collect::<Vec<_>>().concat())
    }

    /// The options as arguments of the command, for a side.
    fn arguments(&self, side: &str) -> Vec<String> {
        let options = self.options().into_iter();
        options.flat_map(|(name, value)| [side.to_owned(), format!("{name}={value}")]).collect()
    }

    fn uri(&self, path: &str) -> String {
        format!("az://{CONTAINER}/{}/{path}", self.name)
    }
}

#[test]
fn files_become_blobs_and_blobs_files_and_only_new_ones_are_loaded_later() {
    let prefix = Prefix::new();
    let project = Project::new();
    project.write("in/day=1/a.csv", "id\n1\n2\n");
    project.write("in/day=2/a.csv", "id\n3\n");
    let name = &prefix.name;
    project.write(
        "pipeline.yaml",
        format!(
            "name: there\nconnections:\n  lake: {}\nstreams:\n  days:\n    \
             source: {{ connector: file, path: \"in/**/*.csv\", incremental: true }}\n    \
             sink: {{ connection: lake, path: \"{name}/{{stream}}/{{part}}.parquet\", partition_by: [day] }}\n    \
             write_disposition: append\n",
            prefix.connection()
        ),
    );
    project.write(
        "back.yaml",
        format!(
            "name: back\nconnections:\n  lake: {}\nstreams:\n  days:\n    \
             source: {{ connection: lake, path: \"{name}/days/**/*.parquet\", incremental: true }}\n    \
             sink: {{ connector: file, path: \"out/{{part}}.ndjson\" }}\n    write_disposition: append\n",
            prefix.connection()
        ),
    );
    for run in 1..=3 {
        for file in ["pipeline.yaml", "back.yaml"] {
            let ended = project.towpath(&["run", file]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        let more = if run == 3 { vec![4] } else { vec![] };
        assert_eq!(project.ids("out"), [vec![1, 2, 3], more].concat(), "run {run}");
        if run == 2 {
            project.write("in/day=2/b.csv", "id\n4\n");
        }
    }
    let rows = project.rows("out");
    assert_eq!(rows.iter().find(|row| row["id"] == 4).map(|row| &row["day"]), Some(&Value::from(2)));
    let swept = project.towpath(&["state", "sweep", "pipeline.yaml", "--json"]);
    let swept: Value =
        serde_json::from_str(&swept.stdout).unwrap_or_else(|error| panic!("{error}: {swept:?}"));
    assert_eq!(swept["swept"][0]["removed"], serde_json::json!([]), "{swept:#}");
}

#[test]
fn whole_files_are_copied_there_within_and_back() {
    let prefix = Prefix::new();
    let project = Project::new();
    let large: Vec<u8> =
        (0..20_000_003_u32).map(|at| u8::try_from((at / 7 + at % 251) % 256).unwrap_or(0)).collect();
    project.write("in/large.bin", &large);
    project.write("in/deep/small.txt", "hello");
    project.write("in/empty", "");
    let copy = |from: &str, to: &str, more: Vec<String>| {
        let mut arguments = vec!["copy".to_owned(), from.to_owned(), to.to_owned()];
        arguments.extend(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = project.towpath(&arguments);
        assert_eq!(ended.code, Some(0), "{from} to {to}: {ended:?}");
    };
    copy("in/", &prefix.uri("one/"), prefix.arguments("--sink"));
    let both = [prefix.arguments("--source"), prefix.arguments("--sink")].concat();
    copy(&prefix.uri("one/"), &prefix.uri("two/"), both);
    copy(&prefix.uri("two/"), "out/", prefix.arguments("--source"));
    assert!(std::fs::read(project.path("out/large.bin")).expect("it is there") == large, "the bytes differ");
    assert_eq!(project.read("out/deep/small.txt"), "hello");
    assert_eq!(project.read("out/empty"), "");
    assert_eq!(project.files("out").len(), 3, "nothing that the target remembers is copied");
}
