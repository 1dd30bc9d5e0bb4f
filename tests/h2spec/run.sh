#!/bin/bash
# h2spec, the public conformance suite of HTTP/2, over TLS against a gateway in front of a small app.
#
#   tests/h2spec/run.sh GATEWAY_BINARY H2SPEC_BINARY
#
# Everything listens on free ports of 127.0.0.1 and ends with this script. Fails unless every case passes.
set -euo pipefail
gateway=$1
h2spec=$2
directory=$(mktemp -d)
children=()

finish() {
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$directory"
}
trap finish EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=h2spec -addext subjectAltName=IP:127.0.0.1 \
  -keyout "$directory/key.pem" -out "$directory/certificate.pem" 2>/dev/null

cat >"$directory/app.py" <<'PYTHON'
import http.server


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            self.rfile.read(size + 2)
            if size == 0:
                break
        body = b"a page of the app, which is long enough to be sent in several small frames\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_OPTIONS = do_PUT = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    # The suite breaks off most of what it begins.
    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), App)
print(server.server_address[1], flush=True)
server.serve_forever()
PYTHON
python3 "$directory/app.py" >"$directory/app.port" &
children+=($!)

wait_for() {
  for _ in $(seq 300); do
    "$@" && return
    sleep 0.1
  done
  echo "waited in vain for: $*" >&2
  cat "$directory/gateway.log" >&2 || true
  exit 1
}
wait_for test -s "$directory/app.port"

# Nobody logs in here, so nobody needs the identity provider.
cat >"$directory/gateway.toml" <<TOML
[server]
listen = []
listen_tls = ["127.0.0.1:0"]
admin_listen = false
log = { format = "json" }
[server.tls]
certificates = [{ certificate = "certificate.pem", key = "key.pem" }]
[identity_providers.main]
issuer = "http://127.0.0.1:9"
client_auth = "none"
[apps.app]
hosts = ["127.0.0.1"]
upstreams = ["http://127.0.0.1:$(cat "$directory/app.port")"]
client_id = "app"
[[apps.app.routes]]
path = "/*"
access = "public"
TOML
"$gateway" --config "$directory/gateway.toml" >"$directory/gateway.log" 2>&1 &
children+=($!)
port() {
  sed -n 's/.*"listen_tls":"\[127\.0\.0\.1:\([0-9]*\)\]".*/\1/p' "$directory/gateway.log"
}
started() {
  [ -n "$(port)" ]
}
wait_for started

"$h2spec" --host 127.0.0.1 --port "$(port)" --tls --insecure --timeout 10 >"$directory/report" || true
summary=$(grep -E '^[0-9]+ tests, ' "$directory/report" || true)
echo "h2spec: ${summary:-no result}"
if ! [[ $summary =~ ^([0-9]+)\ tests,\ ([0-9]+)\ passed,\ 0\ skipped,\ 0\ failed$ ]] || [ "${BASH_REMATCH[1]}" != "${BASH_REMATCH[2]}" ]; then
  sed -n '/^Failures/,$p' "$directory/report"
  exit 1
fi
