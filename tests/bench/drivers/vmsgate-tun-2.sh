# Vmsgate with egress `tun` (kernel routing) and two workers.
EGRESS=tun WORKERS=2
. "$BENCH_DRIVERS/vmsgate.bash"
