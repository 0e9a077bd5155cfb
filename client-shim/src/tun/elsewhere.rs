//! Systems on which no interface is made: there is never anything to keep.

use std::io;

use super::keeper::Parts;
use super::wish::{Outcome, Wish};

#[derive(Debug)]
pub enum Adapter {}

impl Adapter {
    pub(crate) fn into_parts(self) -> io::Result<Parts> {
        match self {}
    }
}

#[derive(Debug)]
pub(super) enum Routes {}

impl Routes {
    pub(super) async fn ask(&mut self, _: &Wish) -> io::Result<()> {
        match *self {}
    }

    pub(super) async fn outcome(&mut self) -> Option<Outcome> {
        match *self {}
    }
}
