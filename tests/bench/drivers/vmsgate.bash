# Vmsgate, sourced by the drivers that set EGRESS and WORKERS. It makes an installation with one client, whose public key is
# the harness's, and as many idle ones as asked for; interface, routes and masquerade are the gateway's own business.

export VMSGATE_CONFIG=$GW_WORK/gateway.toml VMSGATE_PASSPHRASE_FILE=$GW_WORK/passphrase

gw_prepare() {
  set -e
  umask 077
  echo 'correct horse battery staple' > "$VMSGATE_PASSPHRASE_FILE"
  cat > "$VMSGATE_CONFIG" <<END
[gateway]
name = "bench"
listen = "0.0.0.0:$GW_PORT"
endpoint = "$GW_ADDR:$GW_PORT"
tunnel = ["$GW_TUNNEL"]
data = "$GW_WORK/data"
egress = "$EGRESS"
workers = $WORKERS

[[server]]
name = "lan"
address = "$GW_SERVER"
services = ["bench"]

[service.bench]
tcp = [80, $GW_VMS_PORT]
udp = [$GW_VMS_PORT]

[role.bench]
allow = ["lan:bench"]
END
  "$VMSGATE_BIN/vmsgate-keys" init
  "$VMSGATE_BIN/vmsgate-keys" client add bench --role bench --operator Bench --public-key "$GW_CLIENT_KEY" \
    --out "$GW_WORK/profile.conf"
  "$VMSGATE_BIN/vmsgate-load" clients "$GW_WORK/data" --passphrase-file "$VMSGATE_PASSPHRASE_FILE" --role bench \
    --count "$GW_IDLE" > "$GW_CLIENTS"
}

gw_run() { exec "$VMSGATE_BIN/vmsgate" run; }

gw_ready() {
  local try answer
  for try in $(seq 1500); do
    if { exec 3<>/dev/tcp/127.0.0.1/9586; } 2>/dev/null; then
      printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
      read -r answer <&3
      exec 3>&-
      [[ $answer != *" 200 "* ]] || return 0
    fi
    sleep 0.02
  done
  echo "not ready after 30 s: ${answer:-no answer}"
  return 1
}
