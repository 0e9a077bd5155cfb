use super::*;

const SECRET: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const GOOD: &str = "\
# client anna-laptop, role smart-client
[Interface]
PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
Address = 10.99.0.2/32, fd00:99::2/128
DNS = 10.99.0.1, fd00:99::1, vms.local
MTU = 1380
PostUp = ping -c1 10.99.0.1

[peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=   # the gateway
PresharedKey = FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=
AllowedIPs = 192.168.10.0/24
AllowedIPs = 10.99.0.1/32
Endpoint = vpn.example.org:51820
persistentkeepalive = 25
";

fn read(text: &str) -> Result<Profile, super::super::ProfileError> {
    Profile::parse(text, "alice.conf", "alice".to_owned())
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn a_profile_of_wg_quick_is_understood() {
    let profile = read(GOOD).unwrap();

    assert_eq!(profile.addresses, ["10.99.0.2".parse::<IpAddr>().unwrap(), "fd00:99::2".parse().unwrap()]);
    assert_eq!(
        profile.gateway_addresses,
        ["10.99.0.1".parse::<IpAddr>().unwrap(), "fd00:99::1".parse().unwrap()]
    );
    assert_eq!(profile.endpoint.to_string(), "vpn.example.org:51820");
    assert_eq!((profile.mtu, profile.persistent_keepalive), (1380, Some(25)));
    assert!(profile.preshared.is_some());
}

#[test]
fn what_a_profile_may_leave_out_has_the_usual_values() {
    let optional = ["MTU", "PostUp", "PresharedKey", "AllowedIPs", "persistentkeepalive", "#"];
    let bare: String = GOOD
        .lines()
        .filter(|line| !optional.iter().any(|key| line.starts_with(key)))
        .flat_map(|line| [line, "\r\n"])
        .collect();

    let profile = read(&format!("\u{feff}{bare}")).unwrap();

    assert_eq!((profile.mtu, profile.persistent_keepalive), (1420, None));
    assert!(profile.preshared.is_none());
}

#[test]
fn each_mistake_is_named_with_its_line() {
    for (old, new, expected) in [
        ("MTU = 1380", "MTU = 1380 bytes", "alice.conf:6: `MTU` is not a number from 576 to 9000"),
        ("MTU = 1380", "MTU = 70000", "alice.conf:6: `MTU` is not a number from 576 to 9000"),
        ("MTU = 1380", "MTU =", "alice.conf:6: `MTU` has no value"),
        (
            "MTU = 1380",
            "MTU: 1380",
            "alice.conf:6: neither a section like `[Interface]` nor a line like `Key = value`",
        ),
        ("MTU = 1380", "Mtuu = 1380", "alice.conf:6: unknown key `Mtuu` in section `[Interface]`"),
        ("MTU = 1380", "Endpoint = h:1", "alice.conf:6: `Endpoint` belongs into section `[Peer]`"),
        ("MTU = 1380", "[Wires]", "alice.conf:6: unknown section; a profile has `[Interface]` and `[Peer]`"),
        ("MTU = 1380", "[interface]", "alice.conf:6: section `[Interface]` appears twice"),
        ("[Interface]", "", "alice.conf:3: `PrivateKey` stands before any section"),
        (
            "PrivateKey = y",
            "PrivateKey = ",
            "alice.conf:3: `PrivateKey` is not a WireGuard key: 44 characters of base64, the last one `=`",
        ),
        (
            "10.99.0.2/32",
            "10.99.0.2/33",
            "alice.conf:4: `Address` has a value that is not an IP address with a prefix length, like 10.99.0.2/32",
        ),
        (
            "10.99.0.1,",
            "10.99.0.1.5,",
            "alice.conf:5: `DNS` has a value that is neither an IP address nor a domain",
        ),
        ("vpn.example.org:51820", "vpn.example.org", "alice.conf:14: `Endpoint` is not HOST:PORT"),
        ("= 25", "= soon", "alice.conf:15: `PersistentKeepalive` is not a number from 0 to 65535"),
        (
            "persistentkeepalive = 25",
            "endpoint = h:1",
            "alice.conf:15: `Endpoint` was already given in line 14",
        ),
        ("Endpoint = vpn.example.org:51820", "", "alice.conf: `Endpoint` is missing in section `[Peer]`"),
        (
            "DNS = 10.99.0.1, fd00:99::1, vms.local",
            "",
            "alice.conf: `DNS` is missing in section `[Interface]`",
        ),
        (
            "Address = 10.99.0.2/32, fd00:99::2/128\nDNS = 10.99.0.1, ",
            "Address = 10.99.0.2\nDNS = ",
            "alice.conf: `DNS` names no address of the family of the client's own addresses",
        ),
    ] {
        assert!(GOOD.contains(old), "{old}");
        assert_eq!(error(&GOOD.replace(old, new)), expected);
    }
    assert_eq!(error(""), "alice.conf: section `[Interface]` is missing");
}

#[test]
fn a_misspelt_key_is_answered_with_the_nearest() {
    let error = read(&GOOD.replace("PresharedKey", "PreSharedKeys")).unwrap_err();

    assert_eq!(error.hint().as_deref(), Some("did you mean `PresharedKey`?"));
}

#[test]
fn no_error_and_no_debug_output_repeats_a_secret() {
    let swapped = [
        GOOD.replace("PrivateKey = ", ""),
        GOOD.replace("PrivateKey = ", "PrivateKey : "),
        GOOD.replace("PrivateKey = ", "[Interface] "),
        GOOD.replace("[Interface]\nPrivateKey = ", ""),
        GOOD.replace("PrivateKey = ", "Address = "),
        GOOD.replace("PrivateKey = ", "MTU = "),
        GOOD.replace("PrivateKey = ", "DNS = "),
        GOOD.replace("PrivateKey = ", "PrivateKey = x"),
    ];
    for text in swapped {
        let error = read(&text).unwrap_err();
        let shown = format!("{error} {error:?} {:?}", error.hint());
        assert!(!shown.contains(&SECRET[4..40]), "{shown}");
    }
    assert!(!format!("{:?}", read(GOOD).unwrap()).contains(&SECRET[4..40]));
}

#[test]
fn too_many_values_are_refused() {
    let many = vec!["10.0.0.0/8"; MAX_VALUES + 1].join(",");

    assert_eq!(
        error(&GOOD.replace("192.168.10.0/24", &many)),
        "alice.conf:12: `AllowedIPs` has more than 64 values"
    );
}

/// Whatever happens to a profile on its way, the answer is a profile or an error that fits on a screen.
#[test]
fn mutated_profiles_never_panic_and_errors_stay_short() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut read_well = 0;
    for _ in 0..20_000 {
        let mut bytes = GOOD.as_bytes().to_vec();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..bytes.len());
            match random.u8(..5) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, *random.choice(b"=[],#\n:/.\0").unwrap()),
                _ => {
                    let chunk = bytes[at..(at + 40).min(bytes.len())].to_vec();
                    let to = random.usize(..bytes.len());
                    bytes.splice(to..to, chunk);
                }
            }
            if bytes.is_empty() {
                bytes.push(b'#');
            }
        }
        match read(&String::from_utf8_lossy(&bytes)) {
            Ok(profile) => {
                read_well += 1;
                assert!(!profile.addresses.is_empty() && !profile.gateway_addresses.is_empty());
            }
            Err(error) => assert!(error.to_string().len() < 160, "{error}"),
        }
    }
    assert!(read_well > 0, "mutations are mild enough to reach the whole parser");
}
