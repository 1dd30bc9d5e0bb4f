#!/bin/bash
# install.sh DIR: unpacks Debian's glewlwyd, and whatever it needs that this machine lacks, under DIR/root.
# Installs nothing system-wide and starts no service. Needs package lists (apt-get update), not root.
set -eu
DIR=${1:?usage: install.sh DIR}
mkdir -p "$DIR"
UNPACK=$(mktemp -d "$DIR/unpack.XXXXXX")
trap 'rm -rf "$UNPACK"' EXIT
mkdir "$UNPACK/debs" "$UNPACK/root"
cd "$UNPACK/debs"

missing=$(apt-get -s install --no-install-recommends glewlwyd dbconfig-no-thanks 2>/dev/null | awk '/^Inst/ { print $2 }')
if [ -z "$missing" ] && ! apt-cache show glewlwyd >/dev/null 2>&1; then
  echo "glewlwyd is not in the package lists: apt-get update" >&2; exit 1
fi
# shellcheck disable=SC2086 # a list of names
apt-get -q download glewlwyd glewlwyd-common $missing
for deb in *.deb; do dpkg -x "$deb" ../root; done
cd "$DIR"
rm -rf root && mv "$UNPACK/root" root
