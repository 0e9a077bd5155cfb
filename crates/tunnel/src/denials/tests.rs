use super::*;

fn session() -> SessionInfo {
    let client = Arc::new(ClientInfo {
        id: Uuid::nil(),
        name: "alice".into(),
        operator: "Alice".into(),
        role: "smart-client".into(),
        addresses: vec![],
    });
    SessionInfo {
        id: Uuid::nil(),
        client,
        key: [1; 32].into(),
        identity: [2; 32].into(),
        post_quantum: false,
        endpoint: "192.0.2.1:1".parse().unwrap(),
        continues: None,
    }
}

fn refusal() -> Refusal {
    Refusal { reason: DenyReason::NotInRole, server: Some("mgmt".into()), rule: "none".into(), nearest: None }
}

fn collect(refusals: &mut Refusals, now: Instant) -> Vec<Denial> {
    let mut events: Vec<GatewayEvent> = Vec::new();
    refusals.collect(now, false, &mut events);
    let denial = |event| match event {
        GatewayEvent::FlowDenied(denial) => denial,
        other => panic!("{other:?}"),
    };
    events.into_iter().map(denial).collect()
}

#[test]
fn a_scan_of_every_port_is_one_record_that_names_every_port() {
    let (mut refusals, now) = (Refusals::default(), Instant::now());
    let destination = "192.168.10.10".parse().unwrap();
    for port in (1..=u16::MAX).filter(|port| *port != 443 && *port != 80) {
        refusals.deny(&session(), (destination, Protocol::Tcp, port), refusal(), (now, 5));
    }
    assert!(collect(&mut refusals, now + WINDOW / 2).is_empty());
    let denials = collect(&mut refusals, now + WINDOW);
    assert_eq!(denials.len(), 1);
    assert_eq!(denials[0].ports, [1..=79, 81..=442, 444..=65535]);
    assert_eq!(denials[0].count, 65533);
}

#[test]
fn a_few_ports_are_a_record_each_with_their_own_count() {
    let (mut refusals, now) = (Refusals::default(), Instant::now());
    let destination = "192.168.10.10".parse().unwrap();
    for port in [22, 22, 22, 3389] {
        refusals.deny(&session(), (destination, Protocol::Tcp, port), refusal(), (now, 5));
    }
    let denials = collect(&mut refusals, now + WINDOW);
    let seen: Vec<_> = denials.iter().map(|denial| (denial.ports.clone(), denial.count)).collect();
    assert_eq!(seen, [(vec![22..=22], 3), (vec![3389..=3389], 1)]);
}

#[test]
fn too_many_folds_come_out_early_and_none_is_lost() {
    let (mut refusals, now) = (Refusals::default(), Instant::now());
    let mut seen = 0;
    for n in 0..10_000u32 {
        let destination = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        refusals.deny(&session(), (destination, Protocol::Udp, 53), refusal(), (now, 5));
        seen += collect(&mut refusals, now).len();
        assert!(refusals.denials.len() <= MAX_FOLDS);
    }
    assert_eq!(seen + collect(&mut refusals, now + WINDOW).len(), 10_000);
}

#[test]
fn roles_and_services_are_counted_by_name_up_to_a_bound_and_none_is_lost() {
    let mut refusals = Refusals::default();
    for at in 0..2 * MAX_NAMED {
        let service: Arc<str> = format!("service-{at}").into();
        refusals.count(&"smart-client".into(), Some(&service));
    }
    refusals.count(&"smart-client".into(), None);
    let mut totals = refusals.totals().clone();
    assert_eq!(totals.by_role.len(), MAX_NAMED + 1);
    assert_eq!(totals.by_role.values().sum::<u64>(), 2 * MAX_NAMED as u64 + 1);
    let other: (Arc<str>, Arc<str>) = (OTHER.into(), OTHER.into());
    assert_eq!(totals.by_role[&other], MAX_NAMED as u64 + 1);
    totals.add(refusals.totals());
    assert_eq!(totals.by_role[&other], 2 * (MAX_NAMED as u64 + 1));
}
