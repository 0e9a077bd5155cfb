//! The hash chain: no change of a stored log goes unseen.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::*;
use vmsgate_audit::{
    Chain, Entry, Head, StoredEntry,
    chain::{BrokenChain, verify},
};

const LENGTH: usize = 12;

#[test]
fn an_untouched_chain_verifies_and_can_be_checked_in_parts() {
    let (entries, head) = chain_of(LENGTH);
    assert_eq!(verify(&gw1(), gw1().genesis(), entries.clone()).unwrap(), head);
    let (first, second) = entries.split_at(5);
    let middle = verify(&gw1(), gw1().genesis(), first.to_vec()).unwrap();
    assert_eq!(verify(&gw1(), middle, second.to_vec()).unwrap(), head);
    assert_eq!(verify(&gw1(), gw1().genesis(), []).unwrap(), gw1().genesis());
}

#[test]
fn every_edit_of_every_byte_is_found_where_it_is() {
    let (entries, _) = chain_of(4);
    for i in 0..entries.len() {
        for byte in 0..entries[i].text.len() {
            let mut edited = entries.clone();
            let mut bytes = edited[i].text.clone().into_bytes();
            bytes[byte] ^= 1;
            edited[i].text = String::from_utf8_lossy(&bytes).into_owned();
            match verify(&gw1(), gw1().genesis(), edited) {
                Err(BrokenChain::Hash { seq }) => assert_eq!(seq, i as u64 + 1),
                other => panic!("byte {byte} of record {i}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_edit_with_a_recomputed_hash_breaks_the_next_record() {
    let (mut entries, _) = chain_of(LENGTH);
    let before = verify(&gw1(), gw1().genesis(), entries[..3].to_vec()).unwrap();
    entries[3].text = entries[3].text.replace("laptop-4", "laptop-9");
    entries[3].hash = before.extended_by(&entries[3].text).hash.to_string();
    assert!(matches!(verify(&gw1(), gw1().genesis(), entries), Err(BrokenChain::Hash { seq: 5 })));
}

#[test]
fn deletion_insertion_reordering_and_repetition_are_found() {
    let (entries, _) = chain_of(LENGTH);
    for i in 0..LENGTH - 1 {
        let broken = |change: fn(&mut Vec<StoredEntry>, usize)| {
            let mut changed = entries.clone();
            change(&mut changed, i);
            let renumbered =
                changed.iter().enumerate().map(|(n, e)| StoredEntry { seq: n as u64 + 1, ..e.clone() });
            assert!(verify(&gw1(), gw1().genesis(), renumbered).is_err(), "renumbered, at {i}");
            verify(&gw1(), gw1().genesis(), changed).unwrap_err()
        };
        assert!(matches!(broken(|all, i| drop(all.remove(i))), BrokenChain::Sequence { .. }));
        assert!(matches!(broken(|all, i| all.swap(i, i + 1)), BrokenChain::Sequence { .. }));
        assert!(matches!(broken(|all, i| all.insert(i, all[i].clone())), BrokenChain::Sequence { .. }));
    }
}

#[test]
fn a_cut_tail_leads_to_another_head() {
    let (entries, head) = chain_of(LENGTH);
    for length in 0..LENGTH {
        let cut = verify(&gw1(), gw1().genesis(), entries[..length].to_vec()).unwrap();
        assert_ne!(cut, head);
    }
}

#[test]
fn a_record_does_not_verify_in_another_chain() {
    let (entries, _) = chain_of(2);
    let other = Chain::gateway("gw-2");
    assert!(matches!(verify(&other, other.genesis(), entries.clone()), Err(BrokenChain::Hash { seq: 1 })));

    let moved = rehashed(&other, entries.iter().map(|entry| entry.text.clone()));
    assert!(matches!(verify(&other, other.genesis(), moved), Err(BrokenChain::Moved { seq: 1, .. })));
}

#[test]
fn a_record_that_tells_another_number_than_its_own_is_found() {
    let (entries, _) = chain_of(3);
    let swapped = [&entries[1], &entries[0], &entries[2]].map(|entry| entry.text.clone());
    let forged = rehashed(&gw1(), swapped);
    assert!(matches!(
        verify(&gw1(), gw1().genesis(), forged),
        Err(BrokenChain::Moved { seq: 1, was_seq: 2, .. })
    ));
}

#[test]
fn a_gateway_cannot_pose_as_the_administrators() {
    assert_ne!(Chain::gateway("admin"), Chain::admin());
    assert_ne!(Chain::gateway("admin").genesis(), Chain::admin().genesis());
    assert_eq!(Chain::gateway("admin").gateway_name(), Some("admin"));
    assert_eq!(Chain::admin().gateway_name(), None);
}

#[tokio::test]
async fn what_the_store_holds_verifies_and_matches_its_head() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[session_opened(0, 1), flow_opened(1, 1, 1, "rec01")]).await;
    test.append(&gw1(), &[flow_closed(1, 2, 1, 1, "rec01"), session_closed(0, 3, 1)]).await;
    let head = verify(&gw1(), gw1().genesis(), test.all(&gw1()).await).unwrap();
    assert_eq!(head.seq, 4);
    assert_eq!(vmsgate_audit::head(&test.db, &gw1()).await.unwrap(), head);
}

fn chain_of(length: usize) -> (Vec<StoredEntry>, Head) {
    let texts = (1..=length).map(|n| {
        let record = session_opened(n as i64, n as u128);
        Entry { chain: gw1(), seq: n as u64, record }.to_text()
    });
    let entries = rehashed(&gw1(), texts);
    let head = verify(&gw1(), gw1().genesis(), entries.clone()).unwrap();
    (entries, head)
}

fn rehashed(chain: &Chain, texts: impl IntoIterator<Item = String>) -> Vec<StoredEntry> {
    let mut head = chain.genesis();
    let link = |text: String| {
        head = head.extended_by(&text);
        StoredEntry { seq: head.seq, text, hash: head.hash.to_string() }
    };
    texts.into_iter().map(link).collect()
}
