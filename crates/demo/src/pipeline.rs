//! The pipeline that reads the servers.

const TEMPLATE: &str = include_str!("pipeline.yaml");

/// The pipeline file, for servers at these URLs and files in this folder.
pub(crate) fn text(folder: &str, [flights, weather, archive]: [String; 3]) -> String {
    TEMPLATE
        .replace("FLIGHTS_URL", &flights)
        .replace("WEATHER_URL", &weather)
        .replace("ARCHIVE_URL", &archive)
        .replace("FOLDER", folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_the_servers_and_the_folder() {
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"];
        let text = text("out", urls.map(str::to_owned));
        for url in urls {
            assert_eq!(text.matches(&format!("base_url: {url}\n")).count(), 1);
        }
        assert!(text.contains(r#"path: "out/{stream}.parquet""#));
        assert!(!text.contains("_URL") && !text.contains("FOLDER"));
    }
}
