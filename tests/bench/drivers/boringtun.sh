# boringtun-cli as it comes: four threads, connected UDP sockets, multi-queue TUN.
gw_run() { exec "$PEERS/cargo/bin/boringtun-cli" -f --disable-drop-privileges "$GW_IF"; }
