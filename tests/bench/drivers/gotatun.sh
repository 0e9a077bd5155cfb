# gotatun-cli (a fork of boringtun: tokio, aws-lc-rs, UDP GSO/GRO), as it comes.
gw_run() { exec "$PEERS/cargo/bin/gotatun" -f -v error --disable-drop-privileges "$GW_IF"; }
