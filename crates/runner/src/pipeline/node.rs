//! A pipeline file as a tree that remembers where everything stands.

use serde_json::Map;
use towpath_core::Json;

/// A place in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The column in characters, from 1.
    pub(crate) column: usize,
    /// How many characters it covers on that line; at least 1.
    pub(crate) width: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A text, number, boolean or null.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) value: Json,
    /// Whether it stands without quotes, so that its type is told by its form.
    pub(crate) is_plain: bool,
    /// What was filled in from outside, which must not be shown.
    pub(crate) hidden: Option<Hidden>,
}

/// A text with values from outside the file.
#[derive(Clone, PartialEq)]
pub(crate) struct Hidden {
    /// The text as the file has it.
    pub(crate) source: String,
    /// The text with the values filled in.
    pub(crate) filled: String,
    /// Each reference with its value.
    pub(crate) parts: Vec<(String, String)>,
}

impl Hidden {
    /// The variables and files with their values, without the defaults that the text itself has.
    pub(crate) fn outside(&self) -> impl Iterator<Item = (String, String)> {
        self.parts.iter().filter_map(|(reference, value)| {
            let inner = reference.trim_start_matches("${").trim_end_matches('}');
            let (name, default) =
                inner.split_once(":-").map_or((inner, None), |(name, text)| (name, Some(text)));
            (default != Some(value)).then(|| (name.to_owned(), value.clone()))
        })
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hidden").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Node {
    /// A map of these entries.
    pub(crate) fn map(span: Span, entries: Vec<Entry>) -> Self {
        Self { span, value: Value::Map(entries) }
    }

    /// The same value without places, as connectors get their options.
    pub(crate) fn json(&self) -> Json {
        match &self.value {
            Value::Scalar(scalar) => scalar.value.clone(),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| (entry.key.clone(), entry.value.json()));
                Json::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// The entries; none if it is no map.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items; none if it is no list.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Whether it is a map.
    pub(crate) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// The entry of this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of this key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(Scalar { value: Json::String(text), .. }) => Some(text),
            _ => None,
        }
    }

    /// The child at a position of the list or map.
    pub(crate) fn child(&self, index: usize) -> Option<&Node> {
        match &self.value {
            Value::Scalar(_) => None,
            Value::List(items) => items.get(index),
            Value::Map(entries) => entries.get(index).map(|entry| &entry.value),
        }
    }

    fn child_mut(&mut self, index: usize) -> Option<&mut Node> {
        match &mut self.value {
            Value::Scalar(_) => None,
            Value::List(items) => items.get_mut(index),
            Value::Map(entries) => entries.get_mut(index).map(|entry| &mut entry.value),
        }
    }

    fn len(&self) -> usize {
        match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.len(),
            Value::Map(entries) => entries.len(),
        }
    }

    /// The way to what a path such as `auth.token` or `urls[2]` names, or to the last part of it that is there.
    pub(crate) fn locate(&self, path: &str) -> Way {
        let mut way = Way::default();
        let (mut node, mut rest) = (self, path);
        while let Some((index, left)) = node.step(rest) {
            way.0.push(index);
            (node, rest) = (&self[&way], left);
        }
        way
    }

    /// The child that a path begins with, and what is left of the path. Keys may hold dots, so the longest one counts.
    fn step<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        if let Value::List(items) = &self.value {
            let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
            let index = number.parse().ok().filter(|index| *index < items.len())?;
            return Some((index, rest));
        }
        let path = path.strip_prefix('.').unwrap_or(path);
        let fits = |(index, entry): (usize, &Entry)| {
            let rest = path.strip_prefix(entry.key.as_str())?;
            let ends = rest.is_empty() || rest.starts_with(['.', '[']);
            ends.then_some((entry.key.len(), index, rest))
        };
        let found = self.entries().iter().enumerate().filter_map(fits).max_by_key(|(length, ..)| *length);
        found.map(|(_, index, rest)| (index, rest))
    }

    /// The way to the nearest entry of this key below a place, from the outside to the inside.
    pub(crate) fn find_key(&self, below: &Way, key: &str) -> Option<Way> {
        let mut waiting = std::collections::VecDeque::from([below.clone()]);
        while let Some(way) = waiting.pop_front() {
            let node = &self[&way];
            if let Some(index) = node.entries().iter().position(|entry| entry.key == key) {
                return Some(way.then(index));
            }
            waiting.extend((0..node.len()).map(|index| way.then(index)));
        }
        None
    }

    /// The entry at the end of a way; none for the root and for items of lists.
    pub(crate) fn entry_at(&self, way: &Way) -> Option<&Entry> {
        let (last, parent) = way.0.split_last()?;
        self[&Way(parent.to_vec())].entries().get(*last)
    }

    /// Takes out the nearest map entry that holds the end of a way.
    pub(crate) fn remove(&mut self, way: &Way) -> Option<String> {
        let (last, parent) = way.0.split_last()?;
        let parent = Way(parent.to_vec());
        let mut node = &mut *self;
        for index in &parent.0 {
            node = node.child_mut(*index)?;
        }
        if let Value::Map(entries) = &mut node.value {
            return Some(entries.remove(*last).key);
        }
        self.remove(&parent)
    }

    /// Everything below that was filled in from outside.
    pub(crate) fn hidden(&self) -> Vec<&Hidden> {
        if let Value::Scalar(scalar) = &self.value {
            return scalar.hidden.iter().collect();
        }
        (0..self.len()).filter_map(|index| self.child(index)).flat_map(Self::hidden).collect()
    }
}

/// A way from the root of a tree to one of its nodes: the position of each child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Way(Vec<usize>);

impl Way {
    fn then(&self, index: usize) -> Self {
        let mut way = self.clone();
        way.0.push(index);
        way
    }
}

impl std::ops::Index<&Way> for Node {
    type Output = Node;

    fn index(&self, way: &Way) -> &Node {
        way.0
            .iter()
            .fold(self, |node, index| node.child(*index).expect("a way is made from the tree it is for"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::tests::tree;
    use super::*;

    #[test]
    fn a_path_leads_to_the_longest_key_and_into_lists() {
        let node = tree("raw.sales: {urls: [a, b]}\nraw: {sales: 1}\n");
        assert_eq!(node[&node.locate("raw.sales.urls[1]")].text(), Some("b"));
        assert_eq!(node[&node.locate("raw.sales.urls[7]")].items().len(), 2);
        assert_eq!(node.locate(""), Way::default());
    }

    #[test]
    fn a_key_is_searched_from_the_outside_to_the_inside() {
        let node = tree("a: {deep: {x: 1}}\nb: [{x: 2}]\n");
        let way = node.find_key(&Way::default(), "x").unwrap();
        assert_eq!(node[&way].json(), 1);
        let way = node.find_key(&node.locate("b"), "x").unwrap();
        assert_eq!(node[&way].json(), 2);
    }

    #[test]
    fn removing_an_item_of_a_list_removes_the_entry_that_holds_it() {
        let mut node = tree("a: 1\nb: [2, 3]\n");
        let way = node.locate("b[1]");
        assert_eq!(node.remove(&way).as_deref(), Some("b"));
        assert_eq!(node.json(), serde_json::json!({"a": 1}));
    }
}
