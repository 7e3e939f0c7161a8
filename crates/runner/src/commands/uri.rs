//! URIs and paths as sources and sinks.

use towpath_core::{Connector, Error, Json};

use crate::connectors;
use crate::failed::Failed;

/// What a URI stands for.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) connector: Connector,
    pub(super) options: Json,
}

/// Reads a URI; a path without a scheme is one of the connector `file`.
///
/// # Errors
/// That nobody reads such URIs, and what the connector says.
pub(super) fn place(uri: &str) -> Result<Place, Failed> {
    let (connector, uri) = match scheme(uri) {
        Some(scheme) => {
            (connectors::of_scheme(scheme).ok_or_else(|| unknown_scheme(scheme))?, uri.to_owned())
        }
        // A path may hold `%`, which would mean something in a URI.
        None => (file()?, format!("file:{}", uri.replace('%', "%25"))),
    };
    Ok(Place { connector, options: connector.options_of_uri(&uri)? })
}

fn file() -> Result<Connector, Failed> {
    connectors::find("file").ok_or_else(|| {
        let unknown = connectors::unknown("file");
        Failed::Error(Error::config(unknown.message).help(unknown.help))
    })
}

fn unknown_scheme(scheme: &str) -> Failed {
    let unknown = connectors::unknown(scheme);
    if connectors::all_names().contains(&scheme) {
        return Failed::usage(unknown.message, Some(unknown.help));
    }
    let known = connectors::CONNECTORS.iter().flat_map(Connector::schemes);
    let known: Vec<_> = known.map(|scheme| format!("`{scheme}:`")).collect();
    let help = format!(
        "this binary reads {}, and paths; for a path with a colon write `file:PATH`",
        known.join(", ")
    );
    Failed::usage(format!("no connector knows `{scheme}:`"), Some(help))
}

/// The scheme of a URI. A single letter is a drive of Windows.
pub(super) fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let is_part = |character: char| character.is_ascii_alphanumeric() || "+-.".contains(character);
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(is_part);
    is_scheme.then_some(scheme)
}

/// A URI without what must not be shown or does not matter: credentials, query and fragment.
pub(super) fn without_secrets(uri: &str) -> String {
    let Some(scheme) = scheme(uri) else { return uri.to_owned() };
    let rest = &uri[scheme.len() + 1..];
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let Some(authority) = rest.strip_prefix("//") else { return format!("{scheme}:{rest}") };
    let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// The name of what a URI leads to: its last part without endings.
pub(super) fn stem(uri: &str) -> String {
    let uri = without_secrets(uri);
    let last = uri.split(['/', '\\', ':']).rfind(|part| !part.is_empty() && !part.starts_with('*'));
    let stem = last.unwrap_or_default().split('.').find(|part| !part.is_empty()).unwrap_or_default();
    slug(stem)
}

/// The last part of a name such as `sales.orders` or `"Sales"."Order Items"`, without quotes.
pub(super) fn last_identifier(name: &str) -> String {
    let (mut last, mut open, mut closed) = (String::new(), None, false);
    for character in name.trim().chars() {
        match open {
            // A quote that stands twice means itself.
            None if closed && "\"`".contains(character) => {
                last.push(character);
                open = Some(character);
            }
            None if "\"`".contains(character) => open = Some(character),
            None if character == '.' => last.clear(),
            Some(quote) if quote == character => open = None,
            _ => last.push(character),
        }
        closed = open.is_none() && "\"`".contains(character);
    }
    last
}

/// The table behind the first `FROM` of a query, if there is one.
pub(super) fn queried_table(query: &str) -> Option<String> {
    let words = query.split_whitespace();
    let table = words.skip_while(|word| !word.eq_ignore_ascii_case("from")).nth(1)?;
    let table = table.trim_end_matches([';', ',', ')']);
    (!table.starts_with('(')).then(|| last_identifier(table)).filter(|name| !name.is_empty())
}

/// Letters, digits and underscores alone.
pub(super) fn slug(text: &str) -> String {
    let words =
        text.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_told_from_paths_and_drives() {
        assert_eq!(scheme("https://a/b"), Some("https"));
        assert_eq!(scheme("file:a.csv"), Some("file"));
        assert_eq!(scheme("C:\\a.csv"), None);
        assert_eq!(scheme("landing/a:b.csv"), None);
        assert_eq!(scheme("a.csv"), None);
    }

    #[test]
    fn the_last_part_of_a_table_s_name_is_found_behind_dots_and_quotes() {
        for (name, expected) in [
            ("orders", "orders"),
            ("sales.orders", "orders"),
            (r#""a.b"."c ""d"" e""#, r#"c "d" e"#),
            ("`x`.`y.z`", "y.z"),
        ] {
            assert_eq!(last_identifier(name), expected, "{name}");
        }
    }

    #[test]
    fn a_query_is_called_like_the_table_that_it_reads_first() {
        assert_eq!(queried_table("SELECT * from sales.orders;").as_deref(), Some("orders"));
        assert_eq!(queried_table("SELECT * FROM (SELECT 1) x"), None);
        assert_eq!(queried_table("SELECT 1"), None);
    }

    #[test]
    fn credentials_and_queries_are_left_out() {
        assert_eq!(without_secrets("https://ann:pw@api.example/a?key=x#y"), "https://api.example/a");
        assert_eq!(without_secrets("https://ann:pw@api.example"), "https://api.example");
        assert_eq!(without_secrets("data/a.csv"), "data/a.csv");
    }

    #[test]
    fn a_stem_names_what_a_uri_leads_to() {
        for (uri, expected) in [
            ("landing/Sales 2024.csv.gz", "sales_2024"),
            ("landing/sales/*.csv", "sales"),
            ("https://api.example/v2/customers?page=1", "customers"),
            ("https://api.example", "api"),
            ("file:orders.ndjson", "orders"),
            (".", ""),
        ] {
            assert_eq!(stem(uri), expected, "{uri}");
        }
    }

    #[cfg(feature = "file")]
    #[test]
    fn a_path_is_one_of_the_connector_file_and_means_itself() {
        let place = place("landing/50%.csv").unwrap();
        assert_eq!(place.connector.name(), "file");
        assert_eq!(place.options, serde_json::json!({"path": "landing/50%.csv"}));
    }

    #[test]
    fn a_scheme_that_nobody_knows_is_refused_by_name() {
        let text = place("gopher://a").unwrap_err().to_string();
        assert!(text.contains("no connector knows `gopher:`"), "{text}");
    }
}
