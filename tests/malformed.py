#!/usr/bin/env python3
"""Packets that scapy makes and no honest program sends, for a client with a valid key to send.

usage: malformed.py OWN4 OWN6 TARGET4 TARGET6 PORT SEED COUNT

Writes packets to standard output, each as a letter, two bytes of length and its bytes. `m` is malformed, or means nothing
to a server: it must not pass. `f` is what scapy's fuzzer made of a header that begins well: it may be a good packet by
chance, and then it may pass like one. COUNT says how many of the latter; the same SEED makes the same packets.
"""

import random
import sys

from scapy.compat import raw
from scapy.layers.inet import (
    ICMP, IP, TCP, UDP, IPOption, IPOption_LSRR, IPOption_MTU_Probe, IPOption_RR, IPOption_Router_Alert, IPOption_Security,
    IPOption_SSRR, IPOption_Timestamp, IPOption_Traceroute, fragment)
from scapy.layers.inet6 import (
    ICMPv6EchoRequest, ICMPv6MLReport, ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6PacketTooBig, ICMPv6TimeExceeded,
    IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Jumbo, Pad1, RouterAlert,
    fragment6)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import GRE
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Raw, fuzz

SYN = {"sport": 40000, "flags": "S", "seq": 1}


def over_v4(ip, tcp):
    """Malformed or meaningless IPv4."""
    options = [
        IPOption_RR(routers=["10.0.0.1", "10.0.0.2"]), IPOption_LSRR(routers=["192.168.10.1"]),
        IPOption_SSRR(routers=["192.168.10.1"]), IPOption_Timestamp(), IPOption_Router_Alert(), IPOption_Security(),
        IPOption_Traceroute(), IPOption_MTU_Probe(), IPOption(option=30, value=b"\0" * 10)]
    for option in options:
        yield ip(options=[option]) / tcp
    yield ip(options=options[:2]) / tcp
    # Teardrop, overlapping and tiny fragments, and a first one that has no end.
    for piece in fragment(ip() / tcp / (b"x" * 200), fragsize=16):
        yield piece
    for offset in (0, 1, 3, 0x1FFF):
        yield ip(flags="MF", frag=offset, proto=6) / Raw(b"x" * 36)
        yield ip(frag=max(offset, 1), proto=17) / Raw(b"x" * 8)
    yield ip(flags="evil+MF") / tcp
    for length in (0, 19, 20, 39, 41, 0xFFFF):
        yield ip(len=length) / tcp
    for words in (0, 4, 6, 15):
        yield ip(ihl=words) / tcp
    for version in (0, 3, 5, 6, 15):
        yield ip(version=version) / tcp
    yield ip(chksum=0x1234) / tcp
    for destination in ("0.0.0.0", "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1"):
        yield ip(dst=destination) / UDP(sport=40000, dport=161)
    for source in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"):
        yield ip(src=source) / tcp
    yield ip(src=ip().dst) / tcp  # LAND
    for inner in (IP(), GRE() / IP(), ESP(spi=1, seq=1, data=b"x" * 32), AH(nh=6) / tcp, SCTP() / SCTPChunkInit(), Raw(b"x" * 20)):
        yield ip(proto=inner.overload_fields.get(IP, {}).get("proto", 2)) / inner
    for kind, code in ((0, 0), (4, 0), (5, 1), (9, 0), (13, 0), (15, 0), (17, 0), (3, 4), (11, 0), (12, 0), (255, 255)):
        yield ip() / ICMP(type=kind, code=code) / IP(src=ip().dst, dst=ip().src) / UDP(sport=7563, dport=9)
    yield ip() / ICMP(type=3, code=4) / Raw(b"\x45")
    yield ip() / ICMP(chksum=1)


def over_v6(ip, tcp):
    """Malformed or meaningless IPv6."""
    headers = [
        IPv6ExtHdrHopByHop(), IPv6ExtHdrHopByHop(options=[RouterAlert()]), IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=65536)]),
        IPv6ExtHdrDestOpt(options=[Pad1()] * 6), IPv6ExtHdrRouting(addresses=["fd00::1"]),
        IPv6ExtHdrRouting(type=4, addresses=["fd00::1", "fd00::2"]), IPv6ExtHdrFragment(), IPv6ExtHdrFragment(m=1),
        IPv6ExtHdrFragment(offset=1), IPv6ExtHdrFragment(offset=0x1FFF, m=1)]
    for header in headers:
        yield ip() / header / tcp
        yield ip() / IPv6ExtHdrDestOpt() / header / tcp
    chain = ip()
    for _ in range(20):
        chain = chain / IPv6ExtHdrDestOpt()
    yield chain / tcp
    for piece in fragment6(ip() / IPv6ExtHdrFragment() / tcp / (b"x" * 3000), 1280):
        yield piece
    for length in (0, 19, 21, 0xFFFF):
        yield ip(plen=length) / tcp
    for version in (0, 4, 5, 7):
        yield ip(version=version) / tcp
    for destination in ("::", "ff02::1", "ff05::2", "::ffff:192.168.10.22"):
        yield ip(dst=destination) / UDP(sport=40000, dport=161)
    for source in ("::", "::1", "fe80::1", "ff02::1", "::ffff:10.99.0.2"):
        yield ip(src=source) / tcp
    yield ip(src=ip().dst) / tcp
    quoted = IPv6(src=ip().dst, dst=ip().src) / UDP(sport=7563, dport=9)
    for message in (
            ICMPv6ND_RA(), ICMPv6ND_NA(), ICMPv6ND_Redirect(), ICMPv6MLReport(), ICMPv6PacketTooBig(mtu=1) / quoted,
            ICMPv6TimeExceeded() / quoted, ICMPv6EchoRequest(cksum=1), IPv6(), SCTP() / SCTPChunkInit(), Raw(b"")):
        yield ip() / message
    yield ip() / UDP(sport=40000, dport=161, chksum=0) / b"without a checksum"


def over_both(ip, port):
    """Malformed or meaningless TCP and UDP."""
    for flags in ("SF", "SR", "SFRPAUEC", "F", "FPU", "", "A", "SA", "R", "PA"):
        yield ip() / TCP(sport=40000, dport=port, flags=flags)
    for offset in (0, 4, 6, 15):
        yield ip() / TCP(dport=port, dataofs=offset, **SYN)
    yield ip() / TCP(dport=port, chksum=1, **SYN)
    yield ip() / TCP(dport=0, **SYN)
    yield ip() / TCP(sport=0, dport=port, flags="S")
    for length in (0, 7, 9, 0xFFFF):
        yield ip() / UDP(sport=40000, dport=161, len=length) / (b"x" * 20)
    yield ip() / UDP(sport=40000, dport=161, chksum=1) / b"x"


def fuzzed(make, port):
    """What the fuzzer makes of a good beginning."""
    ip, header = make
    to = random.choice([port, port, port, 1433, random.randrange(65536)])
    begin = ip() if random.random() < 0.7 else fuzz(ip())
    ping = ICMP() if isinstance(begin, IP) else ICMPv6EchoRequest()
    body = random.choice([
        fuzz(TCP(dport=to)), fuzz(TCP(dport=to, flags="S")), TCP(dport=to, flags="S", options=fuzz(TCP()).options),
        fuzz(UDP(dport=to)), fuzz(ping), fuzz(header)])
    return begin / body / Raw(random.randbytes(random.randrange(64)))


def write(letter, packet):
    data = raw(packet)[:1400]
    sys.stdout.buffer.write(letter + len(data).to_bytes(2, "big") + data)


def main():
    own4, own6, target4, target6, port, seed, count = sys.argv[1:]
    port = int(port)
    random.seed(int(seed))
    for field in ICMP.fields_desc:
        if field.name.startswith("ts_"):
            field.fld.default = 0  # scapy takes the time of day

    def v4(**fields):
        return IP(**{"src": own4, "dst": target4, **fields})

    def v6(**fields):
        return IPv6(**{"src": own6, "dst": target6, **fields})

    for ip, of_family in ((v4, over_v4), (v6, over_v6)):
        for packet in of_family(ip, TCP(dport=port, **SYN)):
            write(b"m", packet)
        for packet in over_both(ip, port):
            write(b"m", packet)
    makes = [(v4, ICMP()), (v6, IPv6ExtHdrDestOpt())]
    for number in range(int(count)):
        write(b"f", fuzzed(makes[number % 2], port))


if __name__ == "__main__":
    main()
