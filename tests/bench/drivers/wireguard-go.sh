# The newest wireguard-go (2025-05: TUN offload, UDP GSO/GRO, sendmmsg/recvmmsg).
gw_run() { exec "$PEERS/wireguard-go-latest" -f "$GW_IF"; }
