# wireguard-go as Debian 12 packages it (2022-03, no offloads).
gw_run() { WG_PROCESS_FOREGROUND=1 exec /usr/bin/wireguard-go -f "$GW_IF"; }
