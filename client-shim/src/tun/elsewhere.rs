//! Systems on which no interface is made: there is never anything to keep.

use std::rc::Rc;

use tokio::sync::watch;

use super::Routing;
use crate::report::ErrorReport;
use crate::site::Site;
use crate::tunnel::Link;

#[derive(Debug)]
pub(crate) enum Keeper {}

impl Keeper {
    pub(crate) fn routing(&self) -> Rc<Routing> {
        match *self {}
    }

    pub(crate) async fn run(
        self,
        _: watch::Receiver<Option<Site>>,
        _: watch::Receiver<Link>,
        _: impl Fn(bool),
    ) -> ErrorReport {
        match self {}
    }
}
