use super::*;
use crate::profile::Profile;

/// A profile as people and their editors leave it, from random parts.
fn random_profile(random: &mut fastrand::Rng, with_preshared: bool) -> String {
    let key =
        |random: &mut fastrand::Rng| STANDARD.encode(std::array::from_fn::<u8, 32, _>(|_| random.u8(..)));
    let pick = |random: &mut fastrand::Rng, among: &[&str]| among[random.usize(..among.len())].to_owned();
    let mut lines = vec![pick(random, &["[Interface]", " [interface] # mine"])];
    let mut interface = vec![
        format!("PrivateKey = {}", key(random)),
        "Address=10.99.0.2/32, fd00:99::2/128".to_owned(),
        "DNS = 10.99.0.1".to_owned(),
        "MTU = 1380".to_owned(),
        "PostUp = echo PrivateKey = x".to_owned(),
        "# PrivateKey = (kept elsewhere)".to_owned(),
        String::new(),
    ];
    random.shuffle(&mut interface);
    lines.extend(interface);
    lines.push("[Peer]".to_owned());
    let mut peer = vec![
        format!("PublicKey = {}", key(random)),
        "AllowedIPs = 192.168.10.0/24".to_owned(),
        "Endpoint = vpn.example.org:51820".to_owned(),
        "#PresharedKey = was here".to_owned(),
    ];
    if with_preshared {
        peer.push(format!("PresharedKey = {}", key(random)));
    }
    random.shuffle(&mut peer);
    lines.extend(peer);
    let mut text = pick(random, &["", "\u{feff}", "# of Anna\n"]);
    for line in lines {
        let line = match random.usize(..6) {
            0 => line.replacen(" = ", "=", 1),
            1 => line.replacen(" = ", "\t=  ", 1),
            2 => format!("  {line} \t"),
            3 if !line.starts_with('#') => format!("{line} # PresharedKey = no"),
            4 => line.replacen("Key", "KEY", 1),
            _ => line,
        };
        text += &line;
        text += &pick(random, &["\n", "\n", "\r\n"]);
    }
    if random.bool() {
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
    }
    text
}

fn parse(text: &str) -> Profile {
    Profile::parse(text, "alice.conf", "alice".to_owned()).unwrap()
}

fn decode(text: &str) -> String {
    let keys = ["privatekey", "presharedkey", "publickey"];
    text.split_inclusive('\n')
        .map(|line| match (key_of(line), value_range(line)) {
            (Some(key), Some((before, after))) if keys.contains(&key.as_str()) => {
                format!("{before}KEY{after}")
            }
            _ => line.to_owned(),
        })
        .collect()
}

#[test]
fn other_keys_are_read_back_and_every_other_byte_is_kept() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..2_000 {
        let text = random_profile(&mut random, true);
        let secret = StaticSecret::from(std::array::from_fn(|_| random.u8(..)));
        let preshared: [u8; 32] = std::array::from_fn(|_| random.u8(..));
        let gateway = PublicKey::from(std::array::from_fn::<u8, 32, _>(|_| random.u8(..)));
        let keys = NewKeys {
            secret: random.bool().then_some(&secret),
            preshared: random.bool().then_some(&preshared),
            gateway: random.bool().then_some(gateway),
        };

        let edited = with_keys(&text, &keys).unwrap();

        let (before, after) = (parse(&text), parse(&edited));
        let expected = keys.secret.unwrap_or(&before.secret);
        assert_eq!(after.secret.as_bytes(), expected.as_bytes(), "{text}");
        let expected = keys.preshared.copied().or(before.preshared.map(|key| *key));
        assert_eq!(after.preshared.map(|key| *key), expected, "{text}");
        assert_eq!(after.gateway, keys.gateway.unwrap_or(before.gateway), "{text}");
        assert_eq!(decode(&edited), decode(&text));
        if keys.secret.is_none() && keys.preshared.is_none() && keys.gateway.is_none() {
            assert_eq!(*edited, text);
        }
    }
}

#[test]
fn a_profile_without_a_pre_shared_key_gets_one_and_is_otherwise_kept() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..500 {
        let text = random_profile(&mut random, false);
        assert!(parse(&text).preshared.is_none());
        let edited = with_keys(&text, &NewKeys { preshared: Some(&[7; 32]), ..NewKeys::default() }).unwrap();
        assert_eq!(parse(&edited).preshared.map(|key| *key), Some([7; 32]), "{text}");
        let added = format!("PresharedKey = {}", STANDARD.encode([7; 32]));
        let rest: String = edited.replace(&added, "").split_whitespace().collect();
        assert_eq!(rest, text.split_whitespace().collect::<String>());
    }
}
