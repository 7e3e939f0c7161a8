//! CSS selectors: what they say, and which elements they match.

use super::dom::{Dom, Id};

/// Selectors, of which one has to match.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Selector(pub(super) Vec<Complex>);

/// Compounds from the last to the first, each with how it stands to the one behind it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Complex {
    pub(super) last: Vec<Simple>,
    pub(super) before: Vec<(Combinator, Vec<Simple>)>,
}

/// How the element of a compound stands to the one behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combinator {
    Ancestor,
    Parent,
    Previous,
    Earlier,
}

/// What is asked of one element.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Simple {
    Any,
    Name(String),
    Id(String),
    Class(String),
    Attribute {
        name: String,
        test: Test,
        value: String,
        ignores_case: bool,
    },
    Not(Selector),
    Is(Selector),
    /// One of these is found from the element on: how it stands to it is told before each.
    Has(Vec<(Combinator, Selector)>),
    Scope,
    Root,
    Empty,
    Nth(Nth),
}

/// How the value of an attribute is held against another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Exists,
    Equals,
    /// One of its words.
    Word,
    /// It, or it with a hyphen behind.
    Dash,
    Begins,
    Ends,
    Contains,
}

/// `an + b` among the siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nth {
    pub(super) step: i64,
    pub(super) offset: i64,
    pub(super) from_end: bool,
    /// Whether only siblings of the same name count.
    pub(super) of_type: bool,
}

impl Selector {
    /// The elements below a node that match, in the order of the page.
    pub(super) fn all<'a>(&'a self, dom: &'a Dom, scope: Id) -> impl Iterator<Item = Id> + 'a {
        dom.descendants(scope).filter(move |id| self.matches(dom, *id, scope))
    }

    fn matches(&self, dom: &Dom, id: Id, scope: Id) -> bool {
        self.0.iter().any(|complex| {
            complex.last.iter().all(|simple| simple.matches(dom, id, scope))
                && climbs(dom, id, scope, &complex.before)
        })
    }
}

/// Whether the rest of a selector is found from here on.
fn climbs(dom: &Dom, id: Id, scope: Id, before: &[(Combinator, Vec<Simple>)]) -> bool {
    let Some(((combinator, compound), rest)) = before.split_first() else { return true };
    let fits =
        |id: Id| compound.iter().all(|simple| simple.matches(dom, id, scope)) && climbs(dom, id, scope, rest);
    let parent = |id: Id| dom.parent(id).filter(|id| dom.is_element(*id));
    match combinator {
        Combinator::Parent => parent(id).is_some_and(fits),
        Combinator::Ancestor => std::iter::successors(parent(id), |id| parent(*id)).any(fits),
        Combinator::Previous => earlier(dom, id).last().is_some_and(fits),
        Combinator::Earlier => earlier(dom, id).any(fits),
    }
}

/// The siblings before an element.
fn earlier(dom: &Dom, id: Id) -> impl Iterator<Item = Id> {
    let siblings = dom.parent(id).map(|parent| dom.elements(parent));
    siblings.into_iter().flatten().take_while(move |sibling| *sibling != id)
}

impl Simple {
    fn matches(&self, dom: &Dom, id: Id, scope: Id) -> bool {
        match self {
            Self::Any => true,
            Self::Name(name) => dom.name(id).eq_ignore_ascii_case(name),
            Self::Id(wanted) => dom.attribute(id, "id") == Some(wanted),
            Self::Class(class) => dom
                .attribute(id, "class")
                .is_some_and(|classes| classes.split_ascii_whitespace().any(|known| known == class)),
            Self::Attribute { name, test, value, ignores_case } => {
                dom.attribute(id, name).is_some_and(|found| {
                    if *ignores_case {
                        test.holds(&found.to_lowercase(), &value.to_lowercase())
                    } else {
                        test.holds(found, value)
                    }
                })
            }
            Self::Not(selector) => !selector.matches(dom, id, scope),
            Self::Is(selector) => selector.matches(dom, id, scope),
            Self::Has(wanted) => wanted.iter().any(|(stands, selector)| has(dom, id, *stands, selector)),
            Self::Scope => id == scope,
            Self::Root => dom.parent(id).is_none_or(|parent| !dom.is_element(parent)),
            Self::Empty => dom.is_empty(id),
            Self::Nth(nth) => nth.matches(dom, id),
        }
    }
}

fn has(dom: &Dom, id: Id, stands: Combinator, selector: &Selector) -> bool {
    match stands {
        Combinator::Ancestor => selector.all(dom, id).next().is_some(),
        Combinator::Parent => dom.elements(id).any(|child| selector.matches(dom, child, id)),
        Combinator::Previous | Combinator::Earlier => {
            let siblings = dom.parent(id).map(|parent| dom.elements(parent)).into_iter().flatten();
            let mut later = siblings.skip_while(|sibling| *sibling != id).skip(1);
            if stands == Combinator::Previous {
                later.next().is_some_and(|next| selector.matches(dom, next, id))
            } else {
                later.any(|next| selector.matches(dom, next, id))
            }
        }
    }
}

impl Test {
    fn holds(self, found: &str, value: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Equals => found == value,
            Self::Word => !value.is_empty() && found.split_ascii_whitespace().any(|word| word == value),
            Self::Dash => {
                found.strip_prefix(value).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            }
            Self::Begins => !value.is_empty() && found.starts_with(value),
            Self::Ends => !value.is_empty() && found.ends_with(value),
            Self::Contains => !value.is_empty() && found.contains(value),
        }
    }
}

impl Nth {
    fn matches(self, dom: &Dom, id: Id) -> bool {
        let Some(parent) = dom.parent(id) else { return false };
        let counts = |sibling: &Id| !self.of_type || dom.name(*sibling) == dom.name(id);
        let mut siblings = dom.elements(parent).filter(counts);
        let place = if self.from_end {
            siblings.rev().position(|sibling| sibling == id)
        } else {
            siblings.position(|sibling| sibling == id)
        };
        let Some(place) = place.and_then(|place| i64::try_from(place + 1).ok()) else { return false };
        let behind = place - self.offset;
        if self.step == 0 { behind == 0 } else { behind % self.step == 0 && behind / self.step >= 0 }
    }
}
