"""Medians, ratios and targets of results, as the Markdown that docs/performance.md shows."""

import json, statistics

# Column title, key of the result, digits, whether more is better.
QUANTITIES = [
    ("Gbit/s", "gbit", 2), ("gateway CPU-s/GB", "gw_cpu_per_gb", 2), ("whole machine CPU-s/GB", "machine_cpu_per_gb", 2),
    ("gateway µs/packet", "gw_us_per_packet", 2), ("loss", "loss", 4), ("loss-free packets/s", "lossfree_pps", 0), ("peak packets/s", "peak_pps", 0),
    ("median µs", "p50_us", 0), ("99 % µs", "p99_us", 0), ("handshakes/s", "per_second", 0),
    ("gateway µs/handshake", "gw_us_per_handshake", 0),
    ("4 × X25519 ÷ gateway", "share_of_floor", 2), ("cookies", "cookies", 0), ("timeouts", "timeouts", 0),
    ("resident KiB", "rss_kib", 0), ("KiB/client", "kib_per_client", 1), ("start s", "start_seconds", 2),
    ("idle CPU ms/s", "idle_cpu_ms_per_s", 1),
]
FULL_SPEED, PACED = ["dl1", "dl8", "ul1", "ul8"], ["cost-dl", "cost-ul", "cams-dl"]
# Driver, cases, quantity, bound, and whose figure the bound is a multiple of (none: a figure by itself).
TARGETS = [
    ("vmsgate-tun", FULL_SPEED, "gw_cpu_per_gb", "<=", 0.12, "wireguard-go-deb"),
    ("vmsgate-tun", FULL_SPEED, "gw_cpu_per_gb", "<=", 0.13, "gotatun"),
    ("vmsgate-tun", FULL_SPEED, "gw_cpu_per_gb", "<=", 0.5, "wireguard-go"),
    ("vmsgate-tun", PACED, "gw_cpu_per_gb", "<=", 0.2, "wireguard-go-deb"),
    ("vmsgate-tun", FULL_SPEED, "gbit", ">=", 4, "wireguard-go-deb"),
    ("vmsgate-tun", FULL_SPEED, "gbit", ">=", 1.3, "wireguard-go"),
    ("vmsgate-tun", ["udp-cost-dl", "udp-cost-ul"], "gw_us_per_packet", "<=", 0.5, "gotatun"),
    ("vmsgate-tun", ["ping-idle"], "p50_us", "<=", 1, "wireguard-go"),
    ("vmsgate-tun", ["ping-idle"], "p50_us", "<=", 1, "boringtun"),
    ("vmsgate-proxy", FULL_SPEED, "gw_cpu_per_gb", "<=", 0.35, "wireguard-go-deb"),
    ("vmsgate-proxy", ["dl1", "ul1"], "gbit", ">=", 2, None),
    ("vmsgate-tun", ["hs:5000, 32 in flight"], "share_of_floor", ">=", 0.7, None),
    ("vmsgate-tun", ["mem:10000"], "kib_per_client", "<=", 8, None),
    ("vmsgate-tun", ["mem:10000"], "start_seconds", "<=", 2, None),
    ("vmsgate-tun", ["mem:10000"], "idle_cpu_ms_per_s", "<=", 10, None),
]


def markdown(files, reference):
    results, errors = read(files)
    parts = [table(results, case, reference) for case in unique(case for case, _ in results)]
    parts += [targets(results)]
    parts += [f"- {error['driver']}, {error['case']}: {error['error'].splitlines()[0]}" for error in errors]
    return "\n\n".join(filter(None, parts))


def read(files):
    """The values of each quantity, by case and driver."""
    results, errors = {}, []
    for line in (line for file in files for line in open(file)):
        result = json.loads(line)
        if "error" in result:
            errors.append(result)
            continue
        case = result["case"] + (f", {result['window']} in flight" if "window" in result else "")
        values = results.setdefault((case, result["driver"]), {})
        for key, value in result.items():
            if isinstance(value, (int, float)):
                values.setdefault(key, []).append(value)
    for (case, driver), values in results.items():
        few = results.get(("mem:1", driver))
        if case.startswith("mem:") and case != "mem:1" and few:
            clients = int(case.split(":")[1]) - 1
            values["kib_per_client"] = [(median(values, "rss_kib") - median(few, "rss_kib")) / clients]
    return results, errors


def table(results, case, reference):
    rows = {driver: values for (its_case, driver), values in results.items() if its_case == case}
    columns = [column for column in QUANTITIES
               if any(column[1] in values for values in rows.values())]
    lines = [f"**{case}**", "", "| driver | " + " | ".join(title for title, _, _ in columns) + " | runs |",
             "| --- |" + " --- |" * (len(columns) + 1)]
    for driver, values in rows.items():
        cells = [cell(values, key, digits, rows.get(reference) if driver != reference else None) for _, key, digits in columns]
        lines.append(f"| {driver} | {' | '.join(cells)} | {max(map(len, values.values()))} |")
    return "\n".join(lines)


def cell(values, key, digits, reference):
    """`median (smallest to largest) ×ratio`."""
    if key not in values:
        return ""
    number = lambda value: f"{value:,.{digits}f}"
    text = number(median(values, key))
    if len(values[key]) > 1:
        text += f" ({number(min(values[key]))} to {number(max(values[key]))})"
    if reference and median(reference, key):
        text += f" ×{median(values, key) / median(reference, key):.2f}"
    return text


def targets(results):
    lines = []
    for driver, cases, key, relation, bound, other in TARGETS:
        for name in unique(name for _, name in results if name.startswith(driver)):
            found = [(case, ratio) for case in cases if (ratio := measured(results, case, name, key, other)) is not None]
            if not found:
                continue
            met = all(ratio <= bound if relation == "<=" else ratio >= bound for _, ratio in found)
            title = next((title for title, its_key, _ in QUANTITIES if its_key == key))
            goal = f"{'≤' if relation == '<=' else '≥'} {bound}" + (f" × {other}" if other else "")
            lines.append(f"| {name} | {title} | {goal} | {', '.join(f'{case} {ratio:.2f}' for case, ratio in found)} "
                         f"| {'met' if met else '**missed**'} |")
    return "\n".join(["| driver | figure | target | measured | |", "| --- | --- | --- | --- | --- |", *lines]) if lines else ""


def measured(results, case, driver, key, other):
    """The driver's median, as a multiple of the other's if one is named; none where either is missing."""
    values, others = results.get((case, driver), {}), results.get((case, other), {})
    if key not in values or (other and not median(others, key)):
        return None
    return median(values, key) / (median(others, key) if other else 1)


def median(values, key):
    return statistics.median(values.get(key, [0]))


def unique(items):
    return list(dict.fromkeys(items))
