//! A folder of a test, and the command run in it.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with input files.
pub(crate) struct Place(TempDir);

/// What a command said, and how it ended.
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Three orders.
pub(crate) const ORDERS: &str = "id,amount\n1,1.50\n2,20.00\n3,0.25\n";

/// A pipeline from `orders.csv` to `out/orders.ndjson`.
pub(crate) const PIPELINE: &str = "\
name: shop
streams:
  orders:
    source: { connector: file, path: orders.csv }
    sink: { connector: file, path: \"out/{stream}.ndjson\" }
    transform: [{ filter: amount > 1 }]
";

impl Place {
    /// A folder with these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            place.write(name, text);
        }
        place
    }

    /// A folder with the orders and their pipeline.
    pub(crate) fn of_orders() -> Self {
        Self::with(&[("orders.csv", ORDERS), ("shop.yaml", PIPELINE)])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs the command, without what the surroundings may have set.
    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        self.run_with(arguments, &[])
    }

    /// The same with variables.
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Told {
        let output = Command::new(env!("CARGO_BIN_EXE_towpath"))
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("RUST_LOG")
            .envs(variables.iter().copied())
            .output()
            .expect("the binary that cargo has built runs");
        Told::new(&output)
    }
}

impl Told {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the command writes UTF-8");
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Fails unless the command ended like this.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// The JSON on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// Fails unless standard error holds this.
    #[track_caller]
    pub(crate) fn says(&self, expected: &str) -> &Self {
        assert!(self.stderr.contains(expected), "no `{expected}` in: {}", self.stderr);
        self
    }
}
