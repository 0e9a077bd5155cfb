# boringtun-cli with one thread.
gw_run() { exec "$PEERS/cargo/bin/boringtun-cli" -f -t 1 --disable-drop-privileges "$GW_IF"; }
