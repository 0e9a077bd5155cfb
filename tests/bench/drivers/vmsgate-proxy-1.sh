# Vmsgate with egress `proxy` (ordinary sockets) and one worker.
EGRESS=proxy WORKERS=1
. "$BENCH_DRIVERS/vmsgate.bash"
