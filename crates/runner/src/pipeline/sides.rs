//! Connections, sources and sinks: which connector, which connection, which options.

use std::collections::BTreeMap;

use towpath_core::{Connector, Json};
use towpath_engine::ConnectionSpec;

use super::decode::{by_serde, decode};
use super::file::ConnectionSettings;
use super::node::{Entry, Node, Span, Value};
use super::problem::Problem;
use super::schema::{Side, setting_names};
use crate::connectors;
use crate::nearest::nearest;

/// Begins the names of connections that nobody named: of sources and sinks that name their connector themselves.
pub(crate) const UNNAMED: char = '@';

/// A source or sink that was resolved.
pub(crate) struct Part {
    pub(crate) connector: Connector,
    pub(crate) connection: String,
    pub(crate) options: Json,
}

/// Resolves sources and sinks against the connections.
pub(crate) struct Sides {
    settings: Vec<String>,
    named: BTreeMap<String, Named>,
    specs: Vec<ConnectionSpec>,
    problems: Vec<Problem>,
}

/// A connection of the file. Without a connector it is wrong, and was reported.
struct Named {
    connector: Option<Connector>,
    options: Vec<Entry>,
}

impl Sides {
    /// Reads the connections of a pipeline file, and goes on with these problems.
    pub(crate) fn new(root: &Node, problems: Vec<Problem>) -> Self {
        let mut sides =
            Self { settings: setting_names(), named: BTreeMap::new(), specs: Vec::new(), problems };
        for entry in root.get("connections").map(Node::entries).unwrap_or_default() {
            sides.connection(entry);
        }
        sides
    }

    /// The connections and the problems.
    pub(crate) fn finish(self) -> (Vec<ConnectionSpec>, Vec<Problem>) {
        (self.specs, self.problems)
    }

    /// Adds a problem.
    pub(crate) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn connection(&mut self, entry: &Entry) {
        let Entry { key: name, key_span, value: node } = entry;
        if name.starts_with(UNNAMED) {
            let message = format!("the name of a connection cannot begin with `{UNNAMED}`");
            self.report(Problem::new(*key_span, message));
        }
        if !node.is_map() {
            self.named.insert(name.clone(), Named { connector: None, options: Vec::new() });
            return;
        }
        let connector = if let Some(connector) = node.get("connector") {
            self.connector(connector)
        } else {
            self.report(Problem::new(*key_span, "`connector` is missing"));
            None
        };
        let options = self.split(name.clone(), *key_span, node);
        if let Some(connector) = &connector {
            self.refuse_unknown(connector, &options);
        }
        self.named.insert(name.clone(), Named { connector, options });
    }

    fn connector(&mut self, node: &Node) -> Option<Connector> {
        let Some(name) = node.text() else {
            self.report(Problem::new(node.span, "this is not the name of a connector"));
            return None;
        };
        let found = connectors::find(name);
        if found.is_none() {
            let unknown = connectors::unknown(name);
            let problem = Problem::new(node.span, unknown.message).suggest(unknown.suggestion);
            self.report(problem.help(unknown.help).hiding(node));
        }
        found
    }

    /// Adds a connection with the settings in this map, and returns the options of its connector.
    fn split(&mut self, name: String, owner: Span, node: &Node) -> Vec<Entry> {
        let is_setting = |entry: &Entry| self.settings.contains(&entry.key);
        let (settings, rest): (Vec<_>, Vec<_>) = node.entries().iter().cloned().partition(is_setting);
        let settings = Node::map(node.span, settings);
        let read = by_serde::<ConnectionSettings>;
        let settings = decode(&settings, owner, &[], read, &mut self.problems).unwrap_or_default();
        if !self.specs.iter().any(|known| known.name == name) {
            self.specs.push(ConnectionSpec { name, limits: settings.limits(), layers: settings.layers() });
        }
        rest.into_iter().filter(|entry| entry.key != "connector").collect()
    }

    /// The connection of a side that names its connector itself. With settings of its own it is its own; all others of a
    /// connector are one, so that a server meets one limit however many streams come to it.
    fn unnamed(&mut self, connector: Option<&Connector>, owner: &Entry, place: &str) -> (String, Vec<Entry>) {
        let node = &owner.value;
        let has_settings = node.entries().iter().any(|entry| self.settings.contains(&entry.key));
        let name = match connector {
            Some(connector) if !has_settings => format!("{UNNAMED}{}", connector.name()),
            _ => format!("{UNNAMED}{place}"),
        };
        let options = self.split(name.clone(), owner.key_span, node);
        (name, options)
    }

    /// An option of a connection is for the sides that know it, and one must.
    fn refuse_unknown(&mut self, connector: &Connector, options: &[Entry]) {
        let mut known = Side::Source.option_names(connector);
        known.extend(Side::Sink.option_names(connector));
        known.extend(self.settings.iter().cloned());
        for entry in options.iter().filter(|entry| !known.contains(&entry.key)) {
            let near = nearest(&entry.key, known.iter().map(String::as_str));
            let problem =
                Problem::new(entry.key_span, format!("unknown field `{}`", entry.key)).suggest(near);
            let help = format!("`towpath connectors {}` lists its options", connector.name());
            self.report(if near.is_none() { problem.help(help) } else { problem });
        }
    }

    /// Resolves a source or sink. `place` is where it stands, such as `streams.sales.source`.
    pub(crate) fn part(&mut self, side: Side, owner: &Entry, place: &str) -> Option<Part> {
        let node = &owner.value;
        if !node.is_map() {
            // The types of the file have reported it.
            return None;
        }
        let (connector, connection, options) = match (node.entry("connection"), node.entry("connector")) {
            (Some(_), Some(connector)) => {
                let message = format!("a {} names a connection or a connector, not both", side.name());
                self.report(Problem::new(connector.key_span, message));
                return None;
            }
            (Some(connection), None) => self.through(side, &connection.value, node)?,
            (None, Some(connector)) => {
                let connector = self.connector(&connector.value);
                let (name, options) = self.unnamed(connector.as_ref(), owner, place);
                (connector?, name, options)
            }
            (None, None) => {
                self.report(nameless(side, owner));
                return None;
            }
        };
        let options = self.validate(side, &connector, owner, options)?;
        Some(Part { connector, connection, options })
    }

    /// A side that goes through a connection: the connection's options, and its own ones over them.
    fn through(&mut self, side: Side, name: &Node, node: &Node) -> Option<(Connector, String, Vec<Entry>)> {
        let text = name.text().unwrap_or_default();
        let Some(named) = self.named.get(text) else {
            let problem = Problem::new(name.span, format!("there is no connection `{text}`"));
            let near = nearest(text, self.named.keys().map(String::as_str)).map(str::to_owned);
            let known: Vec<_> = self.named.keys().map(String::as_str).collect();
            let help = if known.is_empty() {
                "name it under `connections`, or write `connector:` here".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            self.report(problem.suggest(near).help(help).hiding(name));
            return None;
        };
        let connector = named.connector?;
        let mut own = Vec::new();
        let mut problems = Vec::new();
        for entry in node.entries().iter().filter(|entry| entry.key != "connection") {
            if self.settings.contains(&entry.key) {
                let message = format!("`{}` belongs to the connection", entry.key);
                let help = format!("set it at `connections.{text}`, for all streams that share it");
                problems.push(Problem::new(entry.key_span, message).help(help));
            } else {
                own.push(entry.clone());
            }
        }
        let known = side.option_names(&connector);
        let inherited = named.options.iter().filter(|option| known.contains(&option.key)).cloned();
        let options = joined(inherited.collect(), own, connector.joined_options());
        self.problems.extend(problems);
        Some((connector, text.to_owned(), options))
    }

    fn validate(
        &mut self,
        side: Side,
        connector: &Connector,
        owner: &Entry,
        options: Vec<Entry>,
    ) -> Option<Json> {
        let name = connector.name();
        let node = Node::map(owner.value.span, options);
        let also: Vec<&str> =
            self.settings.iter().map(String::as_str).chain(["connector", "connection"]).collect();
        let problems = &mut self.problems;
        let found = problems.len();
        match (side, connector.source_entry(), connector.sink_entry()) {
            (Side::Source, Some(entry), _) => {
                decode(&node, owner.key_span, &also, |json| entry.validate(json), problems)
            }
            (Side::Sink, _, Some(entry)) => {
                decode(&node, owner.key_span, &also, |json| entry.validate(json), problems)
            }
            (Side::Source, None, _) => {
                let message = format!("the connector `{name}` cannot read; it is a sink only");
                problems.push(Problem::new(owner.key_span, message));
                None
            }
            (Side::Sink, _, None) => {
                let message = format!("the connector `{name}` cannot write; it is a source only");
                problems.push(Problem::new(owner.key_span, message));
                None
            }
        }?;
        (problems.len() == found).then(|| node.json())
    }
}

/// The options of a connection with those of a side over them. Lists under the names in `lists` are put together, the side's
/// items first.
fn joined(inherited: Vec<Entry>, mut own: Vec<Entry>, lists: &[&str]) -> Vec<Entry> {
    let mut options = Vec::new();
    for option in inherited {
        let Some(over) = own.iter_mut().find(|entry| entry.key == option.key) else {
            options.push(option);
            continue;
        };
        // What is no list is wrong, and is told as it stands.
        if let (Value::List(first), Value::List(behind), true) =
            (&mut over.value.value, option.value.value, lists.contains(&option.key.as_str()))
        {
            first.extend(behind);
        }
    }
    options.extend(own);
    options
}

/// A source or sink that names neither connection nor connector, perhaps because of a typing error.
fn nameless(side: Side, owner: &Entry) -> Problem {
    let message = format!("a {} needs a `connection` or a `connector`", side.name());
    let near = |entry: &Entry| {
        nearest(&entry.key, ["connection", "connector"]).map(|meant| (entry.key_span, meant.to_owned()))
    };
    match owner.value.entries().iter().find_map(near) {
        Some((span, meant)) => Problem::new(span, message).suggest(Some(meant)),
        None => Problem::new(owner.key_span, message),
    }
}
