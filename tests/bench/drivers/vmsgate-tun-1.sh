# Vmsgate with egress `tun` (kernel routing) and one worker.
EGRESS=tun WORKERS=1
. "$BENCH_DRIVERS/vmsgate.bash"
