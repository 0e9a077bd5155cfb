//! TCP's maximum segment size, lowered to what fits into the tunnel (RFC 9293 section 3.7.1).
//!
//! Path MTU discovery does the same, unless somebody filters ICMP; then large segments vanish and "pages load, but
//! video stalls".

/// MSS option: kind 2, length 4 (RFC 9293 section 3.1).
const MSS: u8 = 2;

/// Lowers the MSS option of a SYN so that full segments are packets of at most `mtu` bytes, and corrects the
/// checksum. Leaves anything else as it is.
pub fn clamp(packet: &mut [u8], mtu: u16) {
    let Some(at) = transport(packet) else { return };
    let Some(tcp) = packet.get_mut(at..) else { return };
    let most = mtu.saturating_sub(at as u16 + 20);
    let Some(header) = tcp.get(12).map(|offset| usize::from(offset >> 4) * 4) else { return };
    let Some(place) = tcp.get(..header).and_then(find) else { return };
    let Some(value) = tcp.get_mut(place..place + 2) else { return };
    let old = u16::from_be_bytes([value[0], value[1]]);
    if old <= most {
        return;
    }
    value.copy_from_slice(&most.to_be_bytes());
    let (old, new) = if place % 2 == 0 { (old, most) } else { (old.swap_bytes(), most.swap_bytes()) };
    if let Some(checksum) = tcp.get_mut(16..18) {
        let updated = update(u16::from_be_bytes([checksum[0], checksum[1]]), old, new);
        checksum.copy_from_slice(&updated.to_be_bytes());
    }
}

/// Where the TCP header of an IP packet begins.
fn transport(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 if *packet.get(9)? == 6 => Some(usize::from(packet.first()? & 15) * 4),
        6 if *packet.get(6)? == 6 => Some(40),
        _ => None,
    }
}

/// Where the value of the MSS option is.
fn find(header: &[u8]) -> Option<usize> {
    let mut at = 20;
    loop {
        match *header.get(at)? {
            0 => return None,
            1 => at += 1,
            MSS if *header.get(at + 1)? == 4 && at + 4 <= header.len() => return Some(at + 2),
            _ => at += usize::from(*header.get(at + 1)?).max(2),
        }
    }
}

/// A checksum after one word of what it covers has changed (RFC 1624, equation 3).
fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::checksum;

    use super::*;

    /// A SYN with `options`, checksum correct.
    fn syn(v6: bool, options: &[u8]) -> Vec<u8> {
        let mut tcp = vec![0x12, 0x34, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
        tcp.extend_from_slice(options);
        tcp[12] = ((tcp.len() / 4) as u8) << 4;
        let mut packet = if v6 { vec![0x60, 0, 0, 0, 0, tcp.len() as u8, 6, 64] } else { vec![] };
        if v6 {
            packet.extend_from_slice(&[1; 32]);
        } else {
            packet.extend_from_slice(&[0x45, 0, 0, 20 + tcp.len() as u8, 0, 0, 0, 0, 64, 6, 0, 0]);
            packet.extend_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        }
        let at = packet.len();
        packet.extend_from_slice(&tcp);
        let sum = !sum(&packet, at);
        packet[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn sum(packet: &[u8], at: usize) -> u16 {
        let addresses = if at == 20 { &packet[12..20] } else { &packet[8..40] };
        let pseudo = [0, 6, 0, (packet.len() - at) as u8];
        checksum::combine(&[
            checksum::data(addresses),
            checksum::data(&pseudo),
            checksum::data(&packet[at..]),
        ])
    }

    fn mss_of(packet: &[u8], at: usize) -> u16 {
        let place = at + find(&packet[at..]).unwrap();
        u16::from_be_bytes([packet[place], packet[place + 1]])
    }

    #[test]
    fn a_large_mss_is_lowered_and_the_checksum_holds_at_even_and_odd_places() {
        for (v6, at, fits) in [(false, 20, 1380), (true, 40, 1360)] {
            for options in
                [&[2, 4, 5, 180, 1, 3, 3, 7][..], &[1, 2, 4, 35, 40, 3, 3, 7], &[4, 2, 1, 2, 4, 5, 180, 0]]
            {
                let mut packet = syn(v6, options);
                clamp(&mut packet, 1420);
                assert_eq!(mss_of(&packet, at), fits, "{options:?}");
                assert_eq!(sum(&packet, at), 0xffff, "{options:?}");
            }
        }
    }

    #[test]
    fn a_small_mss_a_missing_one_and_broken_options_stay_as_they_are() {
        for options in [
            &[2, 4, 2, 24][..],
            &[],
            &[1, 1, 1, 0],
            &[3, 0, 0, 0],
            &[2, 3, 9, 9],
            &[9, 255, 2, 4],
            &[1, 1, 1, 2],
        ] {
            let mut packet = syn(false, options);
            let before = packet.clone();
            clamp(&mut packet, 1420);
            assert_eq!(packet, before, "{options:?}");
        }
        for len in 0..40 {
            let mut cut = syn(false, &[2, 4, 5, 180])[..len].to_vec();
            clamp(&mut cut, 1420);
        }
    }
}
