#!/bin/bash
# run.sh PORT STATE_DIR: panva's oidc-provider on 127.0.0.1:PORT (server.mjs), in the foreground; SIGTERM stops it.
# STATE_DIR keeps keys and sessions over restarts; without its jwks.json the next start signs with new keys.
# The first run installs what package-lock.json says.
set -eu
PORT=${1:?usage: run.sh PORT STATE_DIR}
mkdir -p "${2:?usage: run.sh PORT STATE_DIR}"
STATE=$(cd "$2" && pwd)
cd "$(dirname "$0")"

need() { command -v "$1" >/dev/null || { echo "oidc-provider needs \`$1\`: apt-get install $2" >&2; exit 1; }; }
need node nodejs
need npm npm
need flock util-linux

exec 9<package.json
flock 9
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund >&2
exec 9>&-

exec node server.mjs "$PORT" "$STATE"
