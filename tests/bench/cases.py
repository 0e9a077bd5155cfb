"""The cases: what is done through the gateway, and what is measured meanwhile."""

import json, os, re, resource, subprocess as sp, time
from lab import ADDR, BIN, CL, GW, UDP_PORT, VMS_PORT, WORK, Gateway, cpu, inside, running, sh, spawn, tree

SERVER = f"{ADDR['server']}:{VMS_PORT}"
KSOFTIRQD = [pid for pid in os.listdir("/proc")
             if pid.isdigit() and open(f"/proc/{pid}/comm").read().startswith("ksoftirqd")]


class Meter:
    """Processor seconds of the gateway, the client's end, and everything that the benchmark runs."""

    def __init__(self, gateway, client=None):
        self.programs = [gateway, client]

    def read(self):
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        everything = list(KSOFTIRQD) + [pid for process in running for pid in tree(process.pid)]
        gateway, client = (program.cpu() if program else (0, 0) for program in self.programs)
        steal = int(open("/proc/stat").readline().split()[8]) / os.sysconf("SC_CLK_TCK")
        return dict(gw_user=gateway[0], gw_sys=gateway[1], cl_cpu=sum(client), steal=steal, wall=time.time(),
                    machine=sum(cpu(everything)) + own.ru_utime + own.ru_stime)

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *_):
        self.used = {name: round(value - self.before[name], 3) for name, value in self.read().items()}
        self.gateway_cpu = self.used["gw_user"] + self.used["gw_sys"]


def in_client(argv, timeout):
    done = sp.run(inside(CL) + argv, capture_output=True, text=True, timeout=timeout)
    if done.returncode and not done.stdout:
        raise RuntimeError(done.stderr[:500])
    return json.loads(done.stdout)


def iperf(seconds, *arguments):
    return ["iperf3", "-c", ADDR["server"], "-p", str(VMS_PORT), "-t", str(seconds), *arguments]


def tcp(*arguments):
    def case(gateway, client, seconds):
        with Meter(gateway, client) as meter:
            result = in_client(iperf(seconds, "-J", *arguments), seconds + 30)
        if "error" in result:
            raise RuntimeError(result["error"])
        received = result["end"]["sum_received"]
        gigabytes = received["bytes"] / 1e9
        return dict(meter.used, gbit=round(received["bits_per_second"] / 1e9, 4),
                    retransmits=result["end"]["sum_sent"].get("retransmits"),
                    gw_cpu_per_gb=round(meter.gateway_cpu / gigabytes, 3),
                    machine_cpu_per_gb=round(meter.used["machine"] / gigabytes, 3))
    return case


def datagrams(gateway, client, way, rate, seconds, size=200):
    with Meter(gateway, client) as meter:
        result = in_client([f"{BIN}/vmsgate-load", way, SERVER, "--size", str(size), "--rate", str(rate),
                            "--seconds", str(seconds)], seconds + 30)
    return dict(result, **meter.used, gw_us_per_packet=round(meter.gateway_cpu * 1e6 / max(result["received"], 1), 3))


def udp_cost(way, rate=20_000):
    def case(gateway, client, seconds):
        result = datagrams(gateway, client, way, rate, seconds)
        if result["sent"] < 0.9 * rate * seconds:
            raise RuntimeError(f"the machine was busy: the sender came to {result['sent']} datagrams in {seconds} s")
        return result
    return case


def udp_max(way):
    """Bisects the highest rate at which less than 1 in 1000 is lost."""
    def case(gateway, client, _):
        low, high, best, peak, rate, trials = 0, None, 0, 0, 60_000, []
        for _ in range(8):
            result = datagrams(gateway, client, way, rate, 2)
            sent, passed = result["sent"] / 2, result["loss"] < 0.001
            trials.append([rate, round(sent), round(result["loss"], 4)])
            peak = max(peak, result["received"] / 2)
            if passed:
                best, low = max(best, min(rate, sent)), rate
                if sent < rate * 0.9:
                    break  # the sender is the limit
            else:
                high = rate
            if high and high - low < 0.06 * high:
                break
            rate = (low + high) // 2 if high else int(rate * 1.6)
        return dict(lossfree_pps=round(best), peak_pps=round(peak), trials=trials)
    return case


def echo(count=800, interval=0.005):
    text = sh(f"ping -n -i {interval} -c {count} -W 1 {ADDR['server']}", CL, check=False)
    times = sorted(float(value) * 1000 for value in re.findall(r"time=([\d.]+)", text))
    if not times:
        raise RuntimeError("no echo came back")
    at = lambda share: round(times[min(len(times) - 1, int(share * len(times)))])
    return dict(lost=count - len(times), p50_us=at(.5), p90_us=at(.9), p99_us=at(.99), max_us=at(1))


def ping(*load):
    def case(gateway, client, _):
        if not load:
            return echo()
        with_load = spawn(iperf(7, *load), CL)
        time.sleep(1.2)
        result = echo()
        with_load.wait(20)
        running.remove(with_load)
        return result
    return case


def profile(*load):
    """Where the gateway's time goes, by sampling; leaves the reports in the work folder."""
    def case(gateway, client, seconds):
        with_load = spawn(iperf(seconds + 2, *load), CL)
        time.sleep(1)
        base = os.path.join(WORK, f"perf-{gateway.driver}-{'_'.join(load) or 'ul'}")
        sp.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-o", base + ".data", "-p",
                ",".join(map(str, gateway.tree())), "--", "sleep", str(seconds)], capture_output=True)
        with_load.wait(20)
        running.remove(with_load)
        report = ["perf", "report", "-i", base + ".data", "--stdio", "-q", "-g", "none", "--percent-limit", "0.5"]
        for name, extra in (("self", ["--no-children", "-s", "dso,sym"]), ("inclusive", ["--children", "-s", "sym"])):
            with open(f"{base}.{name}.txt", "w") as out:
                sp.run(report + extra, stdout=out, stderr=sp.DEVNULL)
        return dict(report=base + ".self.txt")
    return case


def memory(driver, client, count, emit):
    """Resident memory, time to start and processor time at rest with so many idle clients."""
    gateway = Gateway(driver, client, idle=count)
    if gateway.vpn:
        time.sleep(2)
        before = sum(gateway.cpu())
        time.sleep(5)
        emit(rss_kib=gateway.rss_kib(), start_seconds=round(gateway.start_seconds, 2),
             idle_cpu_ms_per_s=round((sum(gateway.cpu()) - before) * 200, 1))
    gateway.close()


def handshakes(driver, client, count, emit):
    """First handshakes of so many clients, each from an address of its own, with 1, 32 and 256 in flight."""
    for window in (1, 32, 256):
        gateway = Gateway(driver, client, idle=count)  # a fresh one, so that every handshake is its client's first
        if gateway.vpn:
            sh(f"ip route replace local {ADDR['sources']}/16 dev lo", CL)
            sh(f"ip route replace {ADDR['sources']}/16 via {ADDR['client']}", GW)
            limit = min(count, 300) if window == 1 else count
            with Meter(gateway) as meter:
                result = in_client([f"{BIN}/vmsgate-load", "handshakes", gateway.clients, "--gateway-key",
                                    gateway.profile["PublicKey"], "--gateway", f"{ADDR['gateway']}:{UDP_PORT}", "--sources",
                                    ADDR["sources"], "--window", str(window), "--count", str(limit)], 120)
            cost = meter.gateway_cpu * 1e6 / max(result["completed"], 1)
            emit(window=window, **result, **meter.used, gw_us_per_handshake=round(cost),
                 share_of_floor=round(result["floor_us"] / max(cost, 1), 2))
        gateway.close()


CASES = {
    "dl1": tcp("-R"), "dl8": tcp("-R", "-P", "8"), "ul1": tcp(), "ul8": tcp("-P", "8"),
    "cost-dl": tcp("-R", "-b", "400M"), "cost-ul": tcp("-b", "400M"),
    "cams-dl": tcp("-R", "-P", "32", "-b", "12M", "-l", "8K"),
    "udp-cost-dl": udp_cost("pull"), "udp-cost-ul": udp_cost("send"),
    "udp-max-dl": udp_max("pull"), "udp-max-ul": udp_max("send"),
    "ping-idle": ping(), "ping-400M": ping("-R", "-b", "400M"), "ping-sat": ping("-R", "-P", "8"),
    "perf-dl": profile("-R"), "perf-ul": profile(), "perf-cost": profile("-R", "-b", "400M"),
    "perf-cams": profile("-R", "-P", "32", "-b", "12M", "-l", "8K"),
}
GROUPS = {"tcp": "dl1 dl8 ul1 ul8", "cost": "cost-dl cost-ul cams-dl",
          "udp": "udp-cost-dl udp-cost-ul udp-max-dl udp-max-ul", "lat": "ping-idle ping-400M ping-sat"}
SCALED = {"mem": memory, "hs": handshakes}
