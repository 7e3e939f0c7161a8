//! Whole pipeline files.

use super::interpolate::tests::Fixed;
use super::*;
use crate::connectors::CONNECTORS;

fn problems(text: &str) -> String {
    match parse("retail.yaml", text, &Fixed([("SECRET", "hush-hush")].into())) {
        Ok(_) => panic!("this pipeline is wrong"),
        Err(problems) => problems.to_string(),
    }
}

/// The variables that the examples use.
fn environment() -> Fixed {
    Fixed(
        [
            ("SHOP_TOKEN", "token"),
            ("SHOP_PASSWORD", "password"),
            ("TOKEN", "token"),
            ("URL", "http://localhost"),
        ]
        .into(),
    )
}

#[test]
fn the_example_of_every_connector_is_a_pipeline() {
    for connector in CONNECTORS {
        let text = connector.example_pipeline();
        // An example may use connectors that this binary lacks.
        let needed = needed_features(connector.name(), text).unwrap();
        let lacks = crate::connectors::all_names()
            .into_iter()
            .any(|name| needed.contains(name) && crate::connectors::find(name).is_none());
        if !lacks && let Err(problems) = parse(connector.name(), text, &environment()) {
            panic!("{problems}");
        }
    }
}

#[test]
fn an_empty_pipeline_is_told_what_is_missing() {
    let text = problems("streams: {}\n");
    let expected = "\
error: `name` is missing
 --> retail.yaml:1:1
  |
1 | streams: {}
  | ^

error: there is no stream
 --> retail.yaml:1:1
  |
1 | streams: {}
  | ^^^^^^^
  = help: name at least one
";
    assert_eq!(text, expected);
    assert!(problems("- a\n").contains("a pipeline is a map"), "a list is no pipeline");
}

#[test]
fn an_unknown_connector_is_shown_with_the_nearest_name() {
    let text = problems("name: a\nstreams:\n  a: { source: { connector: fiel, path: x.csv }, sink: {} }\n");
    let expected = "\
error: there is no connector `fiel`
 --> retail.yaml:3:29
  |
3 |   a: { source: { connector: fiel, path: x.csv }, sink: {} }
  |                             ^^^^ did you mean `file`?
  = help: there are file, http";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("a sink needs a `connection` or a `connector`"), "{text}");
}

#[cfg(not(feature = "http"))]
#[test]
fn a_connector_that_was_not_built_in_names_the_command_that_builds_it() {
    let text = problems("name: a\nstreams: { a: { source: { connector: http }, sink: {} } }\n");
    assert!(text.contains("this binary does not hold the connector `http`"), "{text}");
    assert!(text.contains("`cargo build -p towpath --features http`"), "{text}");
    assert!(text.contains("`cargo xtask slim FILE`"), "{text}");
}

#[cfg(all(feature = "file", feature = "http"))]
mod with_connectors {
    use std::num::NonZeroUsize;

    use towpath_core::{ByteSize, Connector, Json, WriteDisposition};
    use towpath_engine::OnError;

    use super::*;

    fn good(text: &str) -> Pipeline {
        parse("retail.yaml", text, &environment()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    const RETAIL: &str = r#"
name: retail
max_in_flight: 8
memory: 64MiB
threads: 3
on_error: continue
state_dir: state
dead_letter: "dead/{stream}-{part}.ndjson"
connections:
  shop:
    connector: http
    base_url: https://api.shop.example/v2
    auth: { type: bearer, token: "${SHOP_TOKEN}" }
    rate_limit: 100/s
    timeout: { total: 5s }
    idle_timeout: 7s
  lake: { connector: file }
sink: { connection: lake, path: "lake/{stream}.parquet" }
streams:
  customers:
    source: { connection: shop, path: /customers }
    cursor: updated_at
    on_error: fail
  sales:
    source: { connector: file, path: "in/*.csv", max_in_flight: 2 }
    sink: { connector: file, path: "out/{part}.csv" }
    transform: [{ rename: { cust: customer_id } }]
    write_disposition: append
    key: id
    schema_contract: freeze
    dead_letter: { connection: lake, path: "other/{part}.csv" }
    commit: { rows: 10 }
"#;

    #[test]
    fn every_option_reaches_the_pipeline() {
        let pipeline = good(RETAIL);
        assert_eq!((pipeline.name.as_str(), pipeline.max_in_flight.get()), ("retail", 8));
        assert_eq!((pipeline.memory, pipeline.threads.get()), (ByteSize::mib(64), 3));
        assert_eq!(pipeline.state_dir, Path::new("state"));

        let shop = &pipeline.connections[0];
        assert_eq!((shop.name.as_str(), shop.limits.rate_limit), ("shop", Some("100/s".parse().unwrap())));
        assert_eq!(shop.layers.timeout.idle, Some("7s".parse().unwrap()));
        let names: Vec<_> = pipeline.connections.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["shop", "lake", "@file", "@streams.sales.source"]);
        assert_eq!(pipeline.connections[3].limits.max_in_flight.map(NonZeroUsize::get), Some(2));

        let [customers, sales] = pipeline.streams.as_slice() else { panic!("two streams") };
        assert_eq!((customers.name.as_str(), sales.name.as_str()), ("customers", "sales"));
        assert_eq!(customers.cursor.as_deref(), Some("updated_at"));
        assert_eq!((customers.on_error, sales.on_error), (OnError::Fail, OnError::Continue));
        assert_eq!(customers.sink.options["path"], "lake/{stream}.parquet");
        assert_eq!(sales.sink.options["path"], "out/{part}.csv");
        let letter = |stream: &towpath_engine::StreamSpec| {
            stream.dead_letter.as_ref().unwrap().options["path"].clone()
        };
        assert_eq!(
            (letter(customers), letter(sales)),
            ("dead/{stream}-{part}.ndjson".into(), "other/{part}.csv".into())
        );
        assert_eq!((sales.key.as_slice(), sales.transform.len()), (["id".to_owned()].as_slice(), 1));
        assert_eq!(sales.write_disposition, Some(WriteDisposition::Append));
        assert_eq!(sales.schema_contract, towpath_engine::SchemaContract::Freeze);
        assert_eq!(sales.commit.rows, 10);
    }

    #[test]
    fn sides_that_name_a_connector_share_its_limits_unless_they_set_some() {
        let pipeline = good(
            "name: a\nsink: { connector: file, path: \"out/{stream}.csv\" }\nstreams:\n  a: { source: { connector: http, url: http://a/1 } }\n  \
             b: { source: { connector: http, url: http://a/2 } }\n  c: { source: { connector: http, url: http://a/3, rate_limit: 1/s } }\n",
        );
        let used: Vec<_> = pipeline.streams.iter().map(|stream| stream.source.connection.as_str()).collect();
        assert_eq!(used, ["@http", "@http", "@streams.c.source"]);
        let names: Vec<_> = pipeline.connections.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["@file", "@http", "@streams.c.source"]);
    }

    #[test]
    fn a_side_gets_those_options_of_its_connection_that_it_knows_and_its_own_over_them() {
        let pipeline = good(
            "name: a\nconnections:\n  api: { connector: http, base_url: http://a, pages_in_flight: 3, redirects: 1 }\n\
             streams:\n  a:\n    source: { connection: api, path: /in, redirects: 2 }\n    sink: { connection: api, path: /out }\n",
        );
        let stream = &pipeline.streams[0];
        let source =
            serde_json::json!({"base_url": "http://a", "pages_in_flight": 3, "path": "/in", "redirects": 2});
        let sink = serde_json::json!({"base_url": "http://a", "redirects": 1, "path": "/out"});
        assert_eq!((&stream.source.options, &stream.sink.options), (&source, &sink));
    }

    #[test]
    fn rules_of_a_stream_come_before_those_of_its_connection() {
        let pipeline = good(
            "name: a\nconnections:\n  api: { connector: http, base_url: http://a, responses: [{ status: 404, action: empty }] }\n\
             sink: { connector: file, path: \"{stream}.csv\" }\nstreams:\n  \
             a: { source: { connection: api, path: /a, responses: [{ status: 403, action: skip }] } }\n  \
             b: { source: { connection: api, path: /b } }\n",
        );
        let rules = |stream: usize| &pipeline.streams[stream].source.options["responses"];
        let (empty, skip) = (
            serde_json::json!({"status": 404, "action": "empty"}),
            serde_json::json!({"status": 403, "action": "skip"}),
        );
        assert_eq!((rules(0), rules(1)), (&serde_json::json!([skip, empty]), &serde_json::json!([empty])));
    }

    #[test]
    fn a_wrong_rule_of_a_connection_is_shown_where_it_stands() {
        let text = "\
name: a
connections:
  api:
    connector: http
    responses: [{ status: 404, action: emty }]
streams:
  a:
    source: { connection: api, url: http://a, responses: [{ status: 403, action: skip }] }
    sink: { connector: file, path: a.ndjson }
";
        let expected = "\
error: `emty` is not known here
 --> retail.yaml:5:40
  |
5 |     responses: [{ status: 404, action: emty }]
  |                                        ^^^^ did you mean `empty`?
";
        assert_eq!(problems(text), expected);
    }

    #[test]
    fn what_connectors_join_are_lists_among_their_options() {
        for connector in CONNECTORS {
            for name in connector.joined_options() {
                let entry = connector.source_entry().expect("a source has rules");
                let schema: Json = (entry.schema)().into();
                assert_eq!(schema["properties"][name]["type"], "array", "{} {name}", connector.name());
            }
        }
    }

    #[test]
    fn what_comes_from_outside_is_told_apart_from_what_the_file_says() {
        let text = "\
name: a
streams:
  a:
    source: { connector: http, url: \"http://a/${TOKEN}?x=${NONE:-plain}\", headers: { x-a: \"${URL:-http://b}\" } }
    sink: { connector: file, path: \"${TOKEN}.ndjson\" }
";
        let pipeline = good(text);
        let found: Vec<_> =
            pipeline.outside.iter().map(|(name, value)| (name, value.expose().as_str())).collect();
        assert_eq!(found, [("TOKEN", "token"), ("URL", "http://localhost")]);
        assert!(!format!("{pipeline:?}").contains("\"TOKEN\": \"token\""));
    }

    #[test]
    fn options_keep_the_order_of_the_file() {
        let text = RETAIL.replace("max_in_flight: 2", "columns: { z: int64, a: string, m: date }");
        let pipeline = good(&text);
        let columns = pipeline.streams[1].source.options["columns"].as_object().unwrap();
        assert_eq!(columns.keys().collect::<Vec<_>>(), ["z", "a", "m"]);
    }

    #[test]
    fn all_that_is_wrong_with_a_file_is_shown_together() {
        let text = "\
name: a
memry: 1GiB
connections:
  shop: { connector: http, base_url: http://a, pats: [x] }
streams:
  a:
    source: { connection: shpo, path: /x }
    sink: { connector: file, path: a.csv, partition_by: 3 }
    write_disposition: merge
    transform: [{ filter: \"amount >\" }]
  b:
    source: { connection: shop, rate_limit: 3/s, auth: { type: bearer, tken: x } }
    sink: { connector: file, connection: shop }
  c:
    source: { conector: file }
";
        let expected = [
            (2, "unknown field `memry`"),
            (4, "unknown field `pats`"),
            (7, "there is no connection `shpo`"),
            (8, "invalid type: integer `3`, expected a sequence"),
            (9, "`write_disposition: merge` needs a `key`"),
            (10, "expected a column or a value, found the end"),
            (12, "`rate_limit` belongs to the connection"),
            (12, "unknown field `tken`"),
            (13, "a sink names a connection or a connector, not both"),
            (14, "the stream `c` has no sink"),
            (15, "a source needs a `connection` or a `connector`"),
        ];
        let Err(problems) = parse("retail.yaml", text, &Fixed::default()) else { panic!("it is wrong") };
        let found: Vec<_> =
            problems.list().iter().map(|problem| (problem.span.line, problem.message.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_connector_sees_its_mistakes_at_their_places() {
        let text = "\
name: a
streams:
  a:
    source:
      connector: file
      path: a.csv
      fromat: csv
    sink: { connector: file, path: a.ndjson }
";
        let expected = "\
error: unknown field `fromat`
 --> retail.yaml:7:7
  |
7 |       fromat: csv
  |       ^^^^^^ did you mean `format`?
";
        assert_eq!(problems(text), expected);
    }

    #[test]
    fn a_wrong_expression_is_shown_where_it_is_wrong() {
        let text = "\
name: a
streams:
  a:
    source: { connector: file, path: a.csv }
    sink: { connector: file, path: a.ndjson }
    transform:
      - filter: amount > and x = 1
";
        let expected = "\
error: expected a column or a value, found `and`
 --> retail.yaml:7:26
  |
7 |       - filter: amount > and x = 1
  |                          ^
";
        assert_eq!(problems(text), expected);
    }

    #[test]
    fn a_missing_variable_is_shown_once_and_a_value_from_outside_never() {
        let text = "\
name: a
streams:
  a:
    source: { connector: file, path: \"${NONE}\", split_size: \"${SECRET}\" }
    sink: { connector: \"${SECRET}\", path: a.ndjson }
";
        let text = problems(text);
        assert!(text.contains("the variable `NONE` is not set"), "{text}");
        assert!(text.contains("there is no connector `${SECRET}`"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn the_schema_accepts_the_examples_and_refuses_mistakes() {
        let schema = jsonschema::validator_for(&pipeline_schema()).unwrap();
        let json = |text: &str| -> Json { super::yaml::parse(text, &environment()).unwrap().0.json() };
        let init = include_str!("../commands/init/pipeline.yaml");
        for text in CONNECTORS.iter().map(Connector::example_pipeline).chain([RETAIL, init]) {
            let errors: Vec<_> = schema
                .iter_errors(&json(text))
                .map(|error| format!("{error} at {}", error.instance_path()))
                .collect();
            assert_eq!(errors, [""; 0], "{text}");
        }
        for (right, wrong) in [
            ("max_in_flight: 8", "max_in_fligt: 8"),
            ("cursor: updated_at", "cursr: updated_at"),
            ("base_url:", "bas_url:"),
            ("connector: file, path: \"in/*.csv\"", "connector: file, pth: x"),
            ("type: bearer", "type: bear"),
            ("write_disposition: append", "write_disposition: apend"),
        ] {
            assert!(RETAIL.contains(right), "{right}");
            assert!(!schema.is_valid(&json(&RETAIL.replace(right, wrong))), "{wrong}");
        }
    }
}
