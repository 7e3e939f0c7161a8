//! The tree of a page, as the parser of browsers builds it.

use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::{Attribute, ParseOpts, QualName, parse_document};
use towpath_core::{Error, Result};

/// A node by its place in the arena.
pub(super) type Id = usize;

/// The document itself.
pub(super) const DOCUMENT: Id = 0;

/// How deep elements may be nested. The parser looks through all that are open for each new one, so the time that a page
/// takes grows by the square of it. Browsers stop at 512.
const DEEPEST: usize = 2_048;

/// How much is parsed between two looks at the depth.
const STEP_BYTES: usize = 16 << 10;

/// A page.
#[derive(Debug)]
pub(super) struct Dom {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    parent: Option<Id>,
    children: Vec<Id>,
    /// How many nodes it was below when it was put into the tree.
    depth: usize,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Element {
        name: QualName,
        attributes: Vec<Attribute>,
        template: Option<Id>,
    },
    Text(String),
    /// The document, comments and the like.
    Other,
}

impl Dom {
    /// Parses a page. Whatever it is, it becomes a tree.
    ///
    /// # Errors
    /// `DataInvalid` when its elements are nested too deep.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let is_deep = Rc::new(Cell::new(false));
        let sink = Sink { nodes: RefCell::new(vec![Node::new(Data::Other)]), is_deep: is_deep.clone() };
        let mut parser = parse_document(sink, ParseOpts::default());
        let mut rest = text;
        while !rest.is_empty() {
            let (step, behind) = rest.split_at(rest.floor_char_boundary(STEP_BYTES));
            parser.process(step.into());
            rest = behind;
            if is_deep.get() {
                return Err(Error::data(format!("elements are nested deeper than {DEEPEST}"))
                    .help("the page is no page for people; leave its URL out"));
            }
        }
        Ok(parser.finish())
    }

    pub(super) fn parent(&self, id: Id) -> Option<Id> {
        self.nodes[id].parent
    }

    /// The children that are elements.
    pub(super) fn elements(&self, id: Id) -> impl DoubleEndedIterator<Item = Id> {
        self.nodes[id].children.iter().copied().filter(|child| self.is_element(*child))
    }

    pub(super) fn is_element(&self, id: Id) -> bool {
        matches!(self.nodes[id].data, Data::Element { .. })
    }

    /// The name of an element in lower case; empty for other nodes.
    pub(super) fn name(&self, id: Id) -> &str {
        match &self.nodes[id].data {
            Data::Element { name, .. } => &name.local,
            Data::Text(_) | Data::Other => "",
        }
    }

    pub(super) fn attribute(&self, id: Id, name: &str) -> Option<&str> {
        let Data::Element { attributes, .. } = &self.nodes[id].data else { return None };
        attributes.iter().find(|known| &*known.name.local == name).map(|known| &*known.value)
    }

    /// Whether an element has neither elements nor text in it.
    pub(super) fn is_empty(&self, id: Id) -> bool {
        !self.nodes[id].children.iter().any(|child| match &self.nodes[*child].data {
            Data::Element { .. } => true,
            Data::Text(text) => !text.is_empty(),
            Data::Other => false,
        })
    }

    /// All elements below a node, in the order of the page.
    pub(super) fn descendants(&self, id: Id) -> impl Iterator<Item = Id> {
        let mut open: Vec<Id> = self.elements(id).rev().collect();
        std::iter::from_fn(move || {
            let next = open.pop()?;
            open.extend(self.elements(next).rev());
            Some(next)
        })
    }

    /// The text of a node as a person would read it, white space joined.
    pub(super) fn text(&self, id: Id) -> String {
        let mut text = String::new();
        let mut open = vec![(id, false)];
        while let Some((id, ends)) = open.pop() {
            match &self.nodes[id].data {
                Data::Text(piece) => text.push_str(piece),
                Data::Element { name, .. } => {
                    if matches!(&*name.local, "script" | "style" | "template" | "noscript") {
                        continue;
                    }
                    if !is_inline(&name.local) {
                        text.push(' ');
                    }
                    if !ends {
                        open.push((id, true));
                        open.extend(self.nodes[id].children.iter().rev().map(|child| (*child, false)));
                    }
                }
                Data::Other => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Whether a word may go on behind an element, as it does in `<b>w</b>ord`.
fn is_inline(name: &str) -> bool {
    matches!(
        name,
        "a" | "abbr"
            | "b"
            | "bdi"
            | "bdo"
            | "cite"
            | "code"
            | "data"
            | "del"
            | "dfn"
            | "em"
            | "font"
            | "i"
            | "ins"
            | "kbd"
            | "label"
            | "mark"
            | "q"
            | "s"
            | "samp"
            | "small"
            | "span"
            | "strike"
            | "strong"
            | "sub"
            | "sup"
            | "time"
            | "tt"
            | "u"
            | "var"
            | "wbr"
    )
}

impl Node {
    fn new(data: Data) -> Self {
        Self { parent: None, children: Vec::new(), depth: 0, data }
    }
}

/// Collects the tree while the page is parsed.
struct Sink {
    nodes: RefCell<Vec<Node>>,
    /// Whether something is nested too deep.
    is_deep: Rc<Cell<bool>>,
}

impl Sink {
    fn add(&self, data: Data) -> Id {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node::new(data));
        nodes.len() - 1
    }

    fn detach(&self, id: Id) {
        let mut nodes = self.nodes.borrow_mut();
        let Some(parent) = nodes[id].parent.take() else { return };
        if let Some(index) = nodes[parent].children.iter().rposition(|child| *child == id) {
            nodes[parent].children.remove(index);
        }
    }

    /// Puts a node or text into a parent, at this place among its children.
    fn insert(&self, parent: Id, at: Option<usize>, child: NodeOrText<Id>) {
        let child = match child {
            NodeOrText::AppendNode(id) => {
                self.detach(id);
                id
            }
            NodeOrText::AppendText(text) => {
                let mut nodes = self.nodes.borrow_mut();
                let before = at.unwrap_or(nodes[parent].children.len()).checked_sub(1);
                let before = before.map(|before| nodes[parent].children[before]);
                if let Some(Data::Text(known)) = before.map(|before| &mut nodes[before].data) {
                    known.push_str(&text);
                    return;
                }
                drop(nodes);
                self.add(Data::Text(text.to_string()))
            }
        };
        let mut nodes = self.nodes.borrow_mut();
        let depth = nodes[parent].depth + 1;
        nodes[child].parent = Some(parent);
        nodes[child].depth = depth;
        if depth > DEEPEST {
            self.is_deep.set(true);
        }
        let children = &mut nodes[parent].children;
        let at = at.unwrap_or(children.len()).min(children.len());
        children.insert(at, child);
    }
}

impl TreeSink for Sink {
    type Handle = Id;
    type Output = Dom;
    type ElemName<'a> = Ref<'a, QualName>;

    fn finish(self) -> Dom {
        Dom { nodes: self.nodes.into_inner() }
    }

    // Pages are full of mistakes, and the parser mends them as browsers do.
    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Id {
        DOCUMENT
    }

    fn elem_name<'a>(&'a self, target: &'a Id) -> Ref<'a, QualName> {
        Ref::map(self.nodes.borrow(), |nodes| match &nodes[*target].data {
            Data::Element { name, .. } => name,
            Data::Text(_) | Data::Other => unreachable!("only elements are asked for their names"),
        })
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, flags: ElementFlags) -> Id {
        let template = flags.template.then(|| self.add(Data::Other));
        self.add(Data::Element { name, attributes, template })
    }

    fn create_comment(&self, _: StrTendril) -> Id {
        self.add(Data::Other)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Id {
        self.add(Data::Other)
    }

    fn append(&self, parent: &Id, child: NodeOrText<Id>) {
        self.insert(*parent, None, child);
    }

    fn append_based_on_parent_node(&self, element: &Id, previous: &Id, child: NodeOrText<Id>) {
        if self.nodes.borrow()[*element].parent.is_some() {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Id) -> Id {
        match &self.nodes.borrow()[*target].data {
            Data::Element { template: Some(contents), .. } => *contents,
            _ => *target,
        }
    }

    fn same_node(&self, left: &Id, right: &Id) -> bool {
        left == right
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Id, child: NodeOrText<Id>) {
        if let NodeOrText::AppendNode(id) = &child {
            self.detach(*id);
        }
        let place = {
            let nodes = self.nodes.borrow();
            let parent = nodes[*sibling].parent;
            parent.map(|parent| (parent, nodes[parent].children.iter().rposition(|child| child == sibling)))
        };
        if let Some((parent, at)) = place {
            self.insert(parent, at, child);
        }
    }

    fn add_attrs_if_missing(&self, target: &Id, more: Vec<Attribute>) {
        if let Data::Element { attributes, .. } = &mut self.nodes.borrow_mut()[*target].data {
            for attribute in more {
                if !attributes.iter().any(|known| known.name == attribute.name) {
                    attributes.push(attribute);
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Id) {
        self.detach(*target);
    }

    fn reparent_children(&self, node: &Id, new_parent: &Id) {
        let mut nodes = self.nodes.borrow_mut();
        let children = std::mem::take(&mut nodes[*node].children);
        for child in &children {
            nodes[*child].parent = Some(*new_parent);
        }
        nodes[*new_parent].children.extend(children);
    }
}
