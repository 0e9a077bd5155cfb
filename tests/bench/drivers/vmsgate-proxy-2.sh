# Vmsgate with egress `proxy` (ordinary sockets) and two workers.
EGRESS=proxy WORKERS=2
. "$BENCH_DRIVERS/vmsgate.bash"
