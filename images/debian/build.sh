#!/bin/sh
# A minimal Debian root filesystem as a tarball.
# Usage: build.sh SUITE DIR      (as root; writes DIR/SUITE.tar)
set -eu

if [ $# -ne 2 ]; then
  echo "usage: $0 SUITE DIR" >&2
  exit 2
fi
suite=$1
dir=$2
out=$dir/$suite.tar
part=$dir/.$suite.$$.tar

if [ "$(id -u)" -ne 0 ]; then
  echo "$0: must be run as root" >&2
  exit 1
fi

if ! command -v mmdebstrap >/dev/null 2>&1; then
  echo "installing mmdebstrap" >&2
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    mmdebstrap debian-archive-keyring
fi

mkdir -p "$dir"
trap 'rm -f "$part"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# mmdebstrap copies the build host's name and resolver into the tree: drop them.
# $1 in the hooks is the tree, filled in by mmdebstrap.
# shellcheck disable=SC2016
mmdebstrap --mode=root --variant=minbase \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --customize-hook='rm -f "$1/etc/hostname"' \
  --customize-hook=': >"$1/etc/resolv.conf"' \
  "$suite" "$part"
mv "$part" "$out"
echo "$out"
