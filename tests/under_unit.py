#!/usr/bin/python3
"""Runs a command under what systemd units say of it, where systemd itself is not there to run it.

usage: under_unit.py view UNIT[,DROPIN...] FOLDER COMMAND...    as root, in a mount namespace of its own
       under_unit.py calls UNIT[,DROPIN...] COMMAND...          as anybody

`view` makes the file system what the unit leaves of it, with FOLDER as its state directory; `calls` installs the filter of
system calls. A setting that neither knows is left out, never guessed: the sets of calls are systemd's own.
"""

import os
import subprocess
import sys

import seccomp

EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17}
# The kernel's AF_MAX is 46 today.
ALL_FAMILIES = range(64)
# `ProtectSystem=strict` leaves the kernel's own to other settings; the last holds the tests' networks, which come and go.
UNTOUCHED = ("/proc", "/sys", "/dev", "/run/netns")
PROT_WRITE, PROT_EXEC = 2, 4
# CLONE_NEWNS, -CGROUP, -UTS, -IPC, -USER, -PID, -NET of sched.h.
NAMESPACES = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]


def settings(files):
    found = {}
    for file in files.split(","):
        with open(file, encoding="utf-8") as unit:
            for line in unit:
                if "=" in line and not line.startswith(("#", ";")):
                    key, value = line.strip().split("=", 1)
                    found.setdefault(key, []).append(value)
    return found


def expand(name):
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    words = [line.strip() for line in listed.splitlines()[1:]]
    return set().union(*(expand(word) for word in words if word and not word.startswith("#")))


def allowed_calls(lists):
    # What systemd always adds to a list of what is allowed.
    allowed = expand("@default")
    for value in lists:
        names = set().union(*(expand(name) for name in value.lstrip("~").split()))
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed


def calls(unit):
    # One filter each, as systemd has it: the strictest that matches wins.
    families = {FAMILIES[name] for name in " ".join(unit["RestrictAddressFamilies"]).split()}
    sockets = seccomp.SyscallFilter(seccomp.ALLOW)
    for family in ALL_FAMILIES:
        if family not in families:
            sockets.add_rule(seccomp.ERRNO(EAFNOSUPPORT), "socket", seccomp.Arg(0, seccomp.EQ, family))
    flags = seccomp.SyscallFilter(seccomp.ALLOW)
    if unit["MemoryDenyWriteExecute"][-1] == "yes":
        both = PROT_WRITE | PROT_EXEC
        flags.add_rule(seccomp.ERRNO(EPERM), "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, both, both))
        for call in ["mprotect", "pkey_mprotect"]:
            flags.add_rule(seccomp.ERRNO(EPERM), call, seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, PROT_EXEC))
    if unit["RestrictNamespaces"][-1] == "yes":
        for kind in NAMESPACES:
            for call in ["unshare", "clone"]:
                flags.add_rule(seccomp.ERRNO(EPERM), call, seccomp.Arg(0, seccomp.MASKED_EQ, kind, kind))
        flags.add_rule(seccomp.ERRNO(EPERM), "setns")
        # Its flags are out of a filter's sight, so the C library is told to fall back.
        flags.add_rule(seccomp.ERRNO(ENOSYS), "clone3")
    listed = seccomp.SyscallFilter(seccomp.ERRNO(EPERM))
    for call in allowed_calls(unit["SystemCallFilter"]):
        try:
            listed.add_rule(seccomp.ALLOW, call)
        except RuntimeError:
            # A call that this processor or this library does not have.
            pass
    # The last one may forbid to install filters.
    for one in [sockets, flags, listed]:
        one.load()


def view(unit, folder):
    def mount(*arguments):
        subprocess.run(["mount", *arguments], check=True)

    mount("--make-rprivate", "/")
    mount("--bind", folder, folder)
    if unit["ProtectSystem"][-1] == "strict":
        points = [line.split()[4] for line in open("/proc/self/mountinfo", encoding="utf-8")]
        for point in points:
            if point != folder and not point.startswith(UNTOUCHED):
                remounted = subprocess.run(["mount", "-o", "remount,bind,ro", point])
                # What another test has unmounted meanwhile is gone from here too.
                if remounted.returncode != 0 and os.path.ismount(point):
                    sys.exit(f"{point} cannot be made read-only")
    if unit["ProcSubset"][-1] == "pid":
        mount("-t", "proc", "-o", f"subset=pid,hidepid={unit['ProtectProc'][-1]}", "proc", "/proc")


def main():
    mode, files, *rest = sys.argv[1:]
    unit = settings(files)
    if mode == "view":
        view(unit, rest.pop(0))
    else:
        calls(unit)
    os.execvp(rest[0], rest)


if __name__ == "__main__":
    main()
