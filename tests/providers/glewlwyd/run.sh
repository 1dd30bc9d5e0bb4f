#!/bin/bash
# run.sh PORT STATE_DIR: Glewlwyd on 127.0.0.1:PORT, set up through its admin API (setup.py), in the foreground; SIGTERM
# stops it. STATE_DIR keeps the database and the keys: users and sessions survive a restart. The first run fetches
# Debian's packages.
# GLEWLWYD_CACHE      default ${XDG_CACHE_HOME:-$HOME/.cache}/portcullis-providers/glewlwyd
set -eu
PORT=${1:?usage: run.sh PORT STATE_DIR}
mkdir -p "${2:?usage: run.sh PORT STATE_DIR}"
STATE=$(cd "$2" && pwd)
HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${GLEWLWYD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/portcullis-providers/glewlwyd}

need() { command -v "$1" >/dev/null || { echo "glewlwyd needs \`$1\`: apt-get install $2" >&2; exit 1; }; }
need apt-get apt
need dpkg dpkg
need sqlite3 sqlite3
need openssl openssl
need python3 python3
need flock util-linux

SERVER=''
cleanup() { if [ -n "$SERVER" ]; then kill "$SERVER" 2>/dev/null || true; wait "$SERVER" 2>/dev/null || true; fi; }
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

mkdir -p "$CACHE"
exec 9>"$CACHE/lock"
flock 9
[ -x "$CACHE/root/usr/bin/glewlwyd" ] || bash "$HERE/install.sh" "$CACHE" >&2
exec 9>&-

ROOT=$CACHE/root
for libraries in "$ROOT"/usr/lib/*-linux-gnu* "$ROOT"/lib/*-linux-gnu*; do
  [ ! -d "$libraries" ] || LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
absent=$(LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-} ldd "$ROOT/usr/bin/glewlwyd" | awk '/not found/ { print $1 }')
[ -z "$absent" ] || { echo "glewlwyd lacks libraries:" $absent >&2; exit 1; }

NEW=''
if [ ! -f "$STATE/glewlwyd.db" ]; then
  NEW=1
  sed -e "s#@PORT@#$PORT#g; s#@STATE@#$STATE#g; s#@LIB@#$ROOT/usr/lib/glewlwyd#g" "$HERE/glewlwyd.conf.in" >"$STATE/glewlwyd.conf"
  zcat "$ROOT/usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz" | sqlite3 "$STATE/glewlwyd.db"
fi
LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-} "$ROOT/usr/bin/glewlwyd" --config-file="$STATE/glewlwyd.conf" &
SERVER=$!
python3 "$HERE/setup.py" "http://127.0.0.1:$PORT" ${NEW:+"$STATE"}
echo "READY glewlwyd http://127.0.0.1:$PORT/api"
wait "$SERVER"
