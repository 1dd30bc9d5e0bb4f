#!/bin/bash
# run.sh PORT STATE_DIR: Keycloak on 127.0.0.1:PORT with the realms in realms/, in the foreground; SIGTERM stops it.
# STATE_DIR keeps the database: users, keys and sessions survive a restart.
# The first run fetches the distribution (170 MB) by Maven.
# KEYCLOAK_VERSION    default 26.7.3
# KEYCLOAK_CACHE      default ${XDG_CACHE_HOME:-$HOME/.cache}/portcullis-providers
set -eu
PORT=${1:?usage: run.sh PORT STATE_DIR}
mkdir -p "${2:?usage: run.sh PORT STATE_DIR}"
STATE=$(cd "$2" && pwd)
HERE=$(cd "$(dirname "$0")" && pwd)
VERSION=${KEYCLOAK_VERSION:-26.7.3}
CACHE=${KEYCLOAK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/portcullis-providers}
DIST=$CACHE/keycloak-$VERSION

need() { command -v "$1" >/dev/null || { echo "keycloak needs \`$1\`: apt-get install $2" >&2; exit 1; }; }
need java default-jre-headless
need mvn maven
need curl curl
need flock util-linux

SERVER='' UNPACK=''
cleanup() {
  if [ -n "$SERVER" ]; then kill "$SERVER" 2>/dev/null || true; wait "$SERVER" 2>/dev/null || true; fi
  [ -z "$UNPACK" ] || rm -rf "$UNPACK"
}
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

mkdir -p "$CACHE"
exec 9>"$CACHE/keycloak.lock"
flock 9   # one at a time until ready: two first starts of one distribution would build over each other

if [ ! -f "$DIST/bin/kc.sh" ]; then
  UNPACK=$(mktemp -d "$CACHE/unpack.XXXXXX")
  (cd "$UNPACK" && mvn -B -q -ntp -Dstyle.color=never dependency:unpack -Dartifact="org.keycloak:keycloak-quarkus-dist:$VERSION:zip" -DoutputDirectory="$UNPACK" >&2)
  mv "$UNPACK/keycloak-$VERSION" "$DIST"
  rm -rf "$UNPACK"; UNPACK=''
fi
mkdir -p "$DIST/data/import"
cp "$HERE"/realms/*.json "$DIST/data/import/"

export KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin
LOG=$STATE/keycloak.log
sh "$DIST/bin/kc.sh" start-dev --import-realm --http-host=127.0.0.1 --http-port="$PORT" --hostname="http://127.0.0.1:$PORT" \
  --db-url="jdbc:h2:file:$STATE/keycloak;NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=FALSE" >"$LOG" 2>&1 9>&- &
SERVER=$!

# As long as it takes, or whoever waits for it loses patience.
until curl -sf -m 5 -o /dev/null "http://127.0.0.1:$PORT/realms/plain/.well-known/openid-configuration"; do
  kill -0 "$SERVER" 2>/dev/null || { tail -30 "$LOG" >&2; exit 1; }
  sleep 0.3
done
exec 9>&-
echo "READY keycloak http://127.0.0.1:$PORT"
wait "$SERVER"
