//! The options, as pipeline files write them.

use towpath_files::{with_sink_options, with_source_options};

with_source_options! {
    /// The options of the source.
    pub struct SourceConfig {
        /// A file, a folder (everything in it and below), or a glob such as `landing/**/*.{csv,csv.gz}`; or a list of
        /// these. A file that several of them match is read once. What exists under exactly this name is meant literally.
        /// A name that begins with a dot is left out unless the glob spells the dot.
        path;
    }
}

with_sink_options! {
    /// The options of the sink.
    pub struct SinkConfig {
        /// Where the rows go. A plain path is exactly that file, replaced in one step. With `{part}` it is as many files as
        /// needed, and rows can be appended. Placeholders: `{stream}`, `{run}` (the run's id), `{part}` (the number of the
        /// file in the run, behind the run's id unless the path holds `{run}`), and `{sequence}` (the number of the file
        /// within its writer, otherwise a part of `{part}` from the second file on). With `format: bytes` it is a folder,
        /// such as `downloads/` or `downloads/{stream}/`, in which files have the names that the source gives them.
        path;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use towpath_core::ByteSize;
    use towpath_files::{HivePartitions, Incremental, Paths};

    #[test]
    fn a_path_alone_is_enough_and_the_rest_has_defaults() {
        let config: SourceConfig = serde_json::from_value(json!({ "path": "a.csv" })).unwrap();
        assert_eq!(config.path, Paths(vec!["a.csv".into()]));
        assert_eq!(config.split_size, ByteSize::mib(64));
        assert_eq!((config.incremental, config.allow_empty), (Incremental::Off, false));
        assert_eq!(config.hive_partitions, HivePartitions::Auto);
    }

    #[test]
    fn hive_partitions_are_auto_true_or_false() {
        for (value, expected) in [
            (json!("auto"), HivePartitions::Auto),
            (json!(true), HivePartitions::Required),
            (json!(false), HivePartitions::Off),
        ] {
            assert_eq!(serde_json::from_value::<HivePartitions>(value).unwrap(), expected);
        }
        let error = serde_json::from_value::<HivePartitions>(json!("yes")).unwrap_err().to_string();
        assert_eq!(error, "invalid value: string \"yes\", expected `auto`, `true` or `false`");
    }

    #[test]
    fn an_unknown_option_is_refused_by_name() {
        let error =
            serde_json::from_value::<SinkConfig>(json!({ "path": "a.csv", "mode": "x" })).unwrap_err();
        assert!(error.to_string().contains("unknown field `mode`"), "{error}");
    }
}
