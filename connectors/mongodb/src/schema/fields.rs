//! The fields of documents, in the order in which they were first seen.

use std::collections::HashMap;

use arrow_schema::Fields as ArrowFields;

use super::kind::{Kind, Observed};
use crate::wire::{Element, Elements, Malformed, Name, utf8};

/// Fields by name, each with its kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    names: Vec<Name>,
    kinds: Vec<Kind>,
    index: HashMap<Box<[u8]>, usize>,
    /// Whether fields that were not declared are left out.
    is_closed: bool,
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.kinds == other.kinds
    }
}

impl Fields {
    /// The fields of a struct that was declared.
    pub(super) fn declared<'a>(fields: impl Iterator<Item = (&'a str, Kind)>) -> Self {
        let mut declared = Self { is_closed: true, ..Self::default() };
        for (name, kind) in fields {
            declared.insert(name, kind);
        }
        declared
    }

    /// Sets the kind of a field, whether it was seen or not.
    pub(crate) fn insert(&mut self, name: &str, kind: Kind) {
        if let Some(position) = self.position(name.as_bytes()) {
            self.kinds[position] = kind;
        } else {
            self.index.insert(name.as_bytes().into(), self.names.len());
            self.names.push(Name::new(name));
            self.kinds.push(kind);
        }
    }

    /// Widens this until it holds the document too; whether it had to.
    pub(crate) fn observe(&mut self, document: &[u8], depth: usize) -> Observed {
        let mut changed = false;
        let mut next = 0;
        let mut elements = Elements::of(document)?;
        while let Some(element) = self.next_of(&mut elements, next) {
            let (element, found) = element?;
            let position = match found {
                Some(position) => position,
                None if self.is_closed => continue,
                None => {
                    self.insert(utf8(element.name)?, Kind::Null);
                    changed = true;
                    self.names.len() - 1
                }
            };
            next = position + 1;
            changed |= self.kinds[position].observe(element.value, depth)?;
        }
        Ok(changed)
    }

    /// The next element of a document, and where its field stands: mostly where it is guessed, behind the one before.
    #[inline]
    pub(crate) fn next_of<'a>(
        &self,
        elements: &mut Elements<'a>,
        guess: usize,
    ) -> Option<Result<(Element<'a>, Option<usize>), Malformed>> {
        let element = elements.next_guessed(self.names.get(guess))?;
        Some(element.map(|(element, is_guessed)| {
            let position = if is_guessed { Some(guess) } else { self.position(element.name) };
            (element, position)
        }))
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.index.get(name).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub(crate) fn name(&self, position: usize) -> &str {
        self.names[position].text()
    }

    /// What a field holds.
    pub(crate) fn kind(&self, name: &str) -> Option<&Kind> {
        self.position(name.as_bytes()).map(|position| &self.kinds[position])
    }

    /// The columns.
    pub(crate) fn arrow(&self) -> ArrowFields {
        self.names.iter().zip(&self.kinds).map(|(name, kind)| kind.field(name.text())).collect()
    }
}
