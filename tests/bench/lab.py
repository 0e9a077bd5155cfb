"""The laboratory: three network namespaces, the programs in them, and the gateway and client under test."""

import os, re, subprocess as sp, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.environ.setdefault("VMSGATE_BIN", os.path.join(ROOT, "target/release"))
PEERS = os.environ.setdefault("PEERS", os.path.join(ROOT, "target/peers"))
DRIVERS = os.environ["BENCH_DRIVERS"] = os.path.join(HERE, "drivers")
PREFIX = os.environ.get("BENCH_PREFIX", "vgb")
CL, GW, LAN = (f"{PREFIX}-{name}" for name in ("cl", "gw", "lan"))
CL_TUN, GW_TUN = PREFIX + "c0", PREFIX + "g0"
CL_WAN, GW_WAN, GW_LAN, LAN_IF = (f"{PREFIX}v{i}" for i in range(1, 5))
ADDR = dict(client="10.90.0.2", gateway="10.90.0.1", gateway_lan="10.92.0.1", server="10.92.0.2",
            tunnel_gateway="10.91.0.1", tunnel_client="10.91.0.2", sources="10.94.0.0")
UDP_PORT, VMS_PORT, MTU = 51820, 7563, 1420
WORK = os.path.join(tempfile.gettempdir(), PREFIX + "-work")
PATIENCE = 30

running = []  # what we started and have to end


def sh(command, ns=None, check=True, stdin=None):
    """Runs a shell command, in a namespace if one is named, and returns what it printed."""
    done = sp.run(inside(ns) + ["bash", "-c", command], capture_output=True, text=True, input=stdin)
    if check and done.returncode:
        raise RuntimeError(f"{command}\n{done.stdout}{done.stderr}"[-2000:])
    return done.stdout


def inside(ns):
    return ["ip", "netns", "exec", ns] if ns else []


def spawn(argv, ns=None, env=None, log=os.devnull):
    with open(log, "ab") as output:
        process = sp.Popen(inside(ns) + argv, stdin=sp.DEVNULL, stdout=output, stderr=output,
                           env={**os.environ, **(env or {})})
    running.append(process)
    return process


def stop(process):
    if process is None:
        return
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except sp.TimeoutExpired:
            process.kill()
            process.wait()
    if process in running:
        running.remove(process)


def wait_for(ready, what, process=None):
    deadline = time.time() + PATIENCE
    while not ready():
        if process and process.poll() is not None:
            raise RuntimeError(f"{what} ended with {process.returncode}")
        if time.time() > deadline:
            raise RuntimeError(f"{what}: not ready after {PATIENCE} s")
        time.sleep(0.02)


def tear_down():
    for process in list(running):
        stop(process)
    for ns in (CL, GW, LAN):
        sp.run(["ip", "netns", "del", ns], capture_output=True)


def build(wire):
    """Namespaces, cables and the servers of the lan. `nic` makes the outer cable carry single 1500-byte frames."""
    tear_down()
    if not os.path.exists(f"{BIN}/vmsgate-load"):
        sys.exit(f"{BIN} has no vmsgate-load: build with `cargo build --release --bins`, or name the folder in VMSGATE_BIN")
    os.makedirs(WORK, mode=0o700, exist_ok=True)
    for ns in (CL, GW, LAN):
        sh(f"ip netns add {ns}; ip -n {ns} link set lo up")
    for a, a_ns, b, b_ns in ((CL_WAN, CL, GW_WAN, GW), (GW_LAN, GW, LAN_IF, LAN)):
        sh(f"ip link add {a} netns {a_ns} type veth peer name {b} netns {b_ns}")
    for ns, interface, address in ((CL, CL_WAN, "client"), (GW, GW_WAN, "gateway"), (GW, GW_LAN, "gateway_lan"),
                                   (LAN, LAN_IF, "server")):
        sh(f"ip addr add {ADDR[address]}/24 dev {interface}; ip link set {interface} mtu 1500 up", ns)
    # Kernel routing; and echo sockets without privileges, as container runtimes allow them.
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.ping_group_range='0 2147483647'", GW)
    if wire == "nic":
        for ns, interface in ((CL, CL_WAN), (GW, GW_WAN)):
            sh(f"ethtool -K {interface} tso off gso off tx-udp-segmentation off gro on", ns)
    spawn(["iperf3", "-s", "-p", str(VMS_PORT)], LAN)
    spawn([f"{BIN}/vmsgate-load", "sink", f"0.0.0.0:{VMS_PORT}"], LAN)
    listening = lambda: all(sh(f"ss -Hln{kind} sport = :{VMS_PORT}", LAN) for kind in "tu")
    wait_for(listening, "the servers of the lan")


def key_pair():
    private = sh("wg genkey").strip()
    return private, sh("wg pubkey", stdin=private).strip()


class Program:
    """A daemon and what it has used."""
    process = None

    def tree(self):
        return tree(self.process.pid) if self.process else []

    def cpu(self):
        return cpu(self.tree())

    def rss_kib(self):
        found = (re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()) for pid in self.tree())
        return sum(int(match.group(1)) for match in found if match)


class Gateway(Program):
    """The gateway under test. `profile` is what its client needs; `clients` is the file for `vmsgate-load handshakes`."""

    def __init__(self, driver, client, idle=0):
        self.driver, self.log = driver, os.path.join(WORK, "gateway.log")
        self.script = f". {DRIVERS}/{driver}.sh"
        self.vpn = sh(f"{self.script}; echo ${{GW_VPN-1}}").strip() == "1"
        self.profile, self.clients = {}, os.path.join(WORK, "clients")
        if not self.vpn:
            kernel_policy(GW_WAN)
            return
        sh(f"rm -rf {WORK}/gw; mkdir -m 700 {WORK}/gw; rm -f {self.log}")
        conf = os.path.join(WORK, "gw/stock.conf")
        self.env = dict(
            GW_IF=GW_TUN, GW_WORK=WORK + "/gw", GW_CONF=conf, GW_PORT=str(UDP_PORT), GW_MTU=str(MTU), GW_WAN=GW_WAN,
            GW_LAN=GW_LAN, GW_ADDR=ADDR["gateway"], GW_SERVER=ADDR["server"], GW_VMS_PORT=str(VMS_PORT),
            GW_TUNNEL="10.91.0.0/16", GW_CLIENT_KEY=client[1], GW_IDLE=str(idle), GW_CLIENTS=self.clients, LOG_LEVEL="error")
        if self.call("gw_prepare") is None:
            self.prepare_stock(conf, client, idle)
        else:
            text = open(os.path.join(WORK, "gw/profile.conf")).read()
            self.profile = dict(re.findall(r"^(\w+) = (.+)$", text, re.M))
        socket = f"/var/run/wireguard/{GW_TUN}.sock"
        sh(f"rm -f {socket}")
        began = time.time()
        self.process = spawn(["bash", "-c", f"{self.script}; gw_run"], GW, self.env, self.log)
        if self.call("gw_ready") is None:
            wait_for(lambda: os.path.exists(socket), driver, self.process)
            sh(f"wg setconf {GW_TUN} {conf}; ip addr add {ADDR['tunnel_gateway']}/16 dev {GW_TUN};"
               f" ip link set {GW_TUN} mtu {MTU} up", GW)
            kernel_policy(GW_TUN)
        self.start_seconds = time.time() - began
        if self.process.poll() is not None:
            raise RuntimeError(f"{driver} ended: " + open(self.log).read()[-800:])

    def call(self, function):
        """Calls an optional function of the driver; none when the driver has none."""
        script = f"{self.script}; declare -F {function} >/dev/null || exit 64; {function}"
        done = sp.run(inside(GW) + ["bash", "-c", script], capture_output=True, text=True, env={**os.environ, **self.env})
        if done.returncode == 64:
            return None
        if done.returncode:
            log = open(self.log).read()[-800:] if os.path.exists(self.log) else ""
            raise RuntimeError(f"{self.driver} {function}: {done.stdout}{done.stderr}{log}"[-2000:])
        return done.stdout

    def prepare_stock(self, conf, client, idle):
        private, public = key_pair()
        peers = [(client[1], ADDR["tunnel_client"])]
        keys = sh(f"for i in $(seq {idle}); do wg genkey; done").split()
        publics = sh("while read k; do echo $k | wg pubkey; done", stdin="".join(key + "\n" for key in keys)).split()
        peers += [(key, f"10.{100 + (i >> 16)}.{i >> 8 & 255}.{i & 255}") for i, key in enumerate(publics)]
        with open(conf, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(f"[Interface]\nPrivateKey = {private}\nListenPort = {UDP_PORT}\n")
            for key, address in peers:
                out.write(f"[Peer]\nPublicKey = {key}\nAllowedIPs = {address}/32\n")
        with open(self.clients, "w") as out:
            out.writelines(f"{key} -\n" for key in keys)
        self.profile = dict(PublicKey=public, Address=ADDR["tunnel_client"] + "/32")

    def close(self):
        stop(self.process)
        sp.run(["ip", "-n", GW, "link", "del", GW_TUN], capture_output=True)


class Client(Program):
    """The client's end: the same stock WireGuard in every run, so that only the gateway differs."""

    def __init__(self, driver, client, gateway):
        if not gateway.vpn:
            sh(f"ip route replace 10.92.0.0/24 via {ADDR['gateway']}", CL)
            return
        profile, socket = gateway.profile, f"/var/run/wireguard/{CL_TUN}.sock"
        sh(f"rm -f {socket}")
        self.process = spawn(["bash", "-c", f". {DRIVERS}/{driver}.sh; gw_run"], CL,
                             dict(GW_IF=CL_TUN, LOG_LEVEL="error"), os.path.join(WORK, "client.log"))
        wait_for(lambda: os.path.exists(socket), driver, self.process)
        preshared = f"PresharedKey = {profile['PresharedKey']}\n" if "PresharedKey" in profile else ""
        sh(f"wg setconf {CL_TUN} /dev/stdin; ip addr add {profile['Address']} dev {CL_TUN};"
           f" ip link set {CL_TUN} mtu {MTU} up; ip route replace 10.92.0.0/24 dev {CL_TUN}", CL,
           stdin=f"[Interface]\nPrivateKey = {client[0]}\n[Peer]\nPublicKey = {profile['PublicKey']}\n{preshared}"
                 f"Endpoint = {ADDR['gateway']}:{UDP_PORT}\nAllowedIPs = 10.91.0.0/16, 10.92.0.0/24\n")

    def close(self):
        stop(self.process)
        sp.run(["ip", "-n", CL, "link", "del", CL_TUN], capture_output=True)


def kernel_policy(interface):
    """What a gateway without a policy of its own needs from the kernel: the same allow list, and masquerade."""
    server = f"ip daddr {ADDR['server']}"
    sh("nft -f -", GW, stdin=f"""table ip bench {{
  chain forward {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "{interface}" {server} tcp dport {{ 80, {VMS_PORT} }} accept
    iifname "{interface}" {server} udp dport {VMS_PORT} accept
    iifname "{interface}" {server} icmp type echo-request accept
  }}
  chain postrouting {{ type nat hook postrouting priority 100; oifname "{GW_LAN}" masquerade; }}
}}
""")


def tree(pid):
    found, todo = [], [pid]
    while todo:
        found.append(pid := todo.pop())
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, open(f"/proc/{pid}/task/{thread}/children").read().split())
        except FileNotFoundError:
            pass
    return found


def cpu(pids):
    """User and system seconds of processes so far."""
    user = system = 0
    for pid in pids:
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        except FileNotFoundError:
            continue
        user, system = user + int(fields[11]), system + int(fields[12])
    ticks = os.sysconf("SC_CLK_TCK")
    return user / ticks, system / ticks
