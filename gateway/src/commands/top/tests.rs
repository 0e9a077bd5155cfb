use std::time::Duration;

use ratatui::crossterm::event::KeyCode;

use super::super::keys::Wish;
use super::*;
use crate::admin::status::example;

/// Anna of the example, and Bo, who moves nothing and came later.
pub(in super::super) fn two() -> Status {
    let mut status = example();
    let mut bo = status.sessions[0].clone();
    bo.session = "01890000-0000-7000-8000-000000000001".to_owned();
    (bo.client, bo.operator, bo.flows) = ("bo-laptop".to_owned(), "Bo Dahl".to_owned(), 9);
    bo.since = "2026-01-02T03:06:00.000Z".to_owned();
    status.sessions.push(bo);
    status
}

pub(in super::super) fn model() -> Model {
    let mut model = Model::new(Order::Rate, String::new());
    model.note(two(), Instant::now());
    model
}

fn names(model: &Model) -> Vec<&str> {
    model.rows().iter().map(|row| row.session.client.as_str()).collect()
}

fn press(model: &mut Model, keys: &str) -> Vec<Wish> {
    let codes = keys.chars().map(|key| match key {
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        '\x08' => KeyCode::Backspace,
        '↓' => KeyCode::Down,
        letter => KeyCode::Char(letter),
    });
    codes.map(|code| model.press(code)).filter(|wish| *wish != Wish::Nothing).collect()
}

#[test]
fn a_rate_is_what_moved_between_two_statuses() {
    let (mut model, start) = (Model::new(Order::Rate, String::new()), Instant::now());
    let mut first = two();
    let moved = |bytes| Traffic { tx_bytes: bytes, ..Traffic::default() };
    first.totals.servers.insert("rec01".to_owned(), moved(1_000));
    model.note(first, start);
    assert!(model.rows().iter().all(|row| row.rate == Rate::default()), "nothing to compare with yet");
    let mut next = two();
    next.sessions[1].traffic.rx_bytes += 1_000;
    next.sessions[1].traffic.tx_bytes += 500_000;
    next.totals.servers.insert("rec01".to_owned(), moved(2_000));
    next.totals.flows_refused.insert("not-in-role".to_owned(), 5);
    next.totals.handshakes_rejected.insert("unknown-key".to_owned(), 1);
    model.note(next.clone(), start + Duration::from_secs(2));
    let first = model.rows()[0];
    assert_eq!(
        (first.session.client.as_str(), first.rate),
        ("bo-laptop", Rate { up: 4_000, down: 2_000_000 })
    );
    assert_eq!(model.servers()["rec01"], Rate { up: 0, down: 4_000 });
    assert_eq!(model.refused(), 2 + 1, "three were refused before");

    next.started = "2026-01-02T05:00:00.000Z".to_owned();
    next.sessions[0].traffic.tx_bytes += 1_000_000;
    model.note(next, start + Duration::from_secs(3));
    assert!(model.rows().iter().all(|row| row.rate == Rate::default()), "a restarted gateway counts anew");
    assert_eq!(model.refused(), 0);
}

#[test]
fn each_order_puts_first_what_it_is_about() {
    let mut model = model();
    let mut orders = Vec::new();
    for _ in 0..4 {
        press(&mut model, "s");
        orders.push((model.order.words(), names(&model)[0].to_owned()));
    }
    let expected =
        [("flows", "bo-laptop"), ("name", "anna-laptop"), ("since", "bo-laptop"), ("rate", "anna-laptop")];
    assert_eq!(orders, expected.map(|(order, client)| (order, client.to_owned())));
}

#[test]
fn a_filter_looks_at_names_people_roles_and_addresses() {
    let mut model = model();
    for (filter, found) in
        [("BO-", 1), ("dahl", 1), ("smart", 2), ("203.0.113.7", 2), ("10.99.0.2", 2), ("nobody", 0)]
    {
        press(&mut model, &format!("/{filter}\n"));
        assert_eq!((model.rows().len(), &model.mode), (found, &Mode::Clients), "{filter}");
        press(&mut model, "/\x1b");
        assert_eq!(model.rows().len(), 2, "escape shows everybody again");
    }
}

#[test]
fn the_selection_stays_with_its_client_and_leads_to_it() {
    let mut model = model();
    press(&mut model, "↓");
    assert_eq!(model.selection(&model.rows()), 1);
    press(&mut model, "s");
    assert_eq!((names(&model)[0], model.selection(&model.rows())), ("bo-laptop", 0), "it moved up");
    assert_eq!(press(&mut model, "\n"), [Wish::Look]);
    assert_eq!(model.looked_at(), Some("bo-laptop"));
    assert_eq!(press(&mut model, "\x1b"), [Wish::Look]);
    assert_eq!(model.looked_at(), None);
    assert_eq!(press(&mut model, "q"), [Wish::End]);
}

#[test]
fn nobody_is_cut_off_without_a_reason_and_escape_takes_it_back() {
    let mut model = model();
    assert_eq!(press(&mut model, "c \n"), []);
    assert!(matches!(model.mode, Mode::Reason { .. }), "it is still asked for");
    assert_eq!(press(&mut model, "stolen\x1b"), []);
    assert_eq!(model.mode, Mode::Clients);
    let wishes = press(&mut model, "\ncleft his jobx\x08\n");
    let cut = Wish::Cut { client: "anna-laptop".to_owned(), reason: "left his job".to_owned() };
    assert_eq!(wishes, [Wish::Look, cut]);
    assert_eq!(model.looked_at(), Some("anna-laptop"), "back where it was");
}
