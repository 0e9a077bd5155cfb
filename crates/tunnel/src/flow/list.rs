//! A doubly linked list through the slots of a slab: constant time, no allocation.

use slab::Slab;

use super::Flow;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Links {
    previous: u32,
    next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Links { previous: NONE, next: NONE }
    }
}

/// Oldest first.
#[derive(Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        List { head: NONE, tail: NONE }
    }
}

impl List {
    pub(super) fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// Appends a slot that is in no list.
    pub(super) fn push(&mut self, flows: &mut Slab<Flow>, slot: u32) {
        let previous = std::mem::replace(&mut self.tail, slot);
        if let Some(flow) = flows.get_mut(slot as usize) {
            flow.links = Links { previous, next: NONE };
        }
        match flows.get_mut(previous as usize) {
            Some(flow) => flow.links.next = slot,
            None => self.head = slot,
        }
    }

    /// Takes out a slot that is in this list.
    pub(super) fn remove(&mut self, flows: &mut Slab<Flow>, slot: u32) {
        let Some(links) = flows.get_mut(slot as usize).map(|flow| std::mem::take(&mut flow.links)) else {
            return;
        };
        match flows.get_mut(links.previous as usize) {
            Some(flow) => flow.links.next = links.next,
            None => self.head = links.next,
        }
        match flows.get_mut(links.next as usize) {
            Some(flow) => flow.links.previous = links.previous,
            None => self.tail = links.previous,
        }
    }
}
