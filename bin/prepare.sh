#!/bin/sh
# Prepares the host and the tree, then builds, tests, checks or installs minict.
# Usage: prepare.sh build|test|vm|check|setup|need|bun   (test, vm: more words go to vitest; need: names of Debian packages)
set -eu

cd "$(dirname "$0")/.."

PROGRAMS=/usr/local/lib/minict

say() { printf 'prepare: %s\n' "$*"; }
die() {
  printf 'prepare: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else
    command -v sudo >/dev/null 2>&1 || die "not root, and sudo is not installed: cannot run $*"
    sudo "$@"
  fi
}

installed() {
  case $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) in
    'install ok installed') return 0 ;;
    *) return 1 ;;
  esac
}

# Installs those of the named Debian packages that are missing.
need() {
  missing=
  for package in "$@"; do
    installed "$package" || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if ! command -v apt-get >/dev/null 2>&1; then
    say "apt-get not found; if something is missing below, install what Debian calls$missing"
    return 0
  fi
  say "installing$missing"
  update_lists
  # shellcheck disable=SC2086 # one word for each package
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --no-remove $missing ||
    die "cannot install$missing: apt-get failed, as shown above"
}

update_lists() { as_root apt-get update || say 'apt-get update failed; going on with the lists that are there'; }

# Takes a program out of a Debian package that brings more than that.
take() { # PROGRAM PACKAGE
  [ ! -e "$PROGRAMS/$1" ] || return 0
  say "taking $PROGRAMS/$1 out of the package $2"
  update_lists
  scratch=$(mktemp -d)
  (cd "$scratch" && apt-get download "$2" && dpkg-deb -x "$2"*.deb tree) ||
    die "cannot get $2: apt-get failed, as shown above"
  as_root install -D -m 755 "$(find "$scratch/tree" -type f -path "*/bin/$1")" "$PROGRAMS/$1"
  rm -r "$scratch"
}

# The image `base` is made of a static busybox. Debian's package of it conflicts with its package `busybox`, which many
# hosts have and which is not ours to remove.
need_busybox() {
  if installed busybox; then take busybox busybox-static; else need busybox-static; fi
}

# What images are tested with. The package of the registry would start it, for all the network to use.
need_peers() {
  need skopeo umoci podman
  # Routers run FRR's daemons by themselves; its service is not wanted.
  need frr
  installed docker-registry || take docker-registry docker-registry
}

# A small kernel for virtual machines, with the drivers that they need, taken out of its package.
need_guest() {
  need qemu-system-x86 cpio
  [ ! -e "$PROGRAMS/guest/vmlinuz" ] || return 0
  update_lists
  kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
  say "taking $PROGRAMS/guest/vmlinuz out of the package $kernel"
  scratch=$(mktemp -d)
  (cd "$scratch" && apt-get download "$kernel" && dpkg-deb -x "$kernel"*.deb tree) ||
    die "cannot get $kernel: apt-get failed, as shown above"
  as_root mkdir -p "$PROGRAMS/guest"
  find "$scratch/tree" \( -name 'virtio*.ko' -o -name '*failover.ko' \) -exec cp {} "$scratch" \;
  as_root install -m 644 "$scratch"/*.ko "$PROGRAMS/guest"
  as_root install -m 644 "$scratch"/tree/boot/vmlinuz-* "$PROGRAMS/guest/vmlinuz"
  rm -r "$scratch"
}

# Debian's systemd with a busybox, unpacked and not configured: the smallest that boots.
need_debian() {
  need mmdebstrap
  [ ! -e "$PROGRAMS/debian.tar" ] || return 0
  say "making $PROGRAMS/debian.tar"
  scratch=$(mktemp -d)
  as_root mmdebstrap --quiet --variant=extract --include=base-files,systemd-sysv,busybox-static \
    bookworm "$scratch/debian.tar" || die 'cannot make a Debian: mmdebstrap failed, as shown above'
  as_root install -D -m 644 "$scratch/debian.tar" "$PROGRAMS/debian.tar"
  as_root rm -r "$scratch"
}

# A Debian with those packages, as `minict image build` has it made: its tests have no network.
need_tree() { # PACKAGE,...
  need mmdebstrap
  [ ! -e "$PROGRAMS/$1.tar" ] || return 0
  say "making $PROGRAMS/$1.tar"
  scratch=$(mktemp -d)
  as_root mmdebstrap --quiet --variant=minbase --include="$1" --aptopt='APT::Install-Recommends "false"' \
    bookworm "$scratch/tree.tar" || die "cannot make a Debian with $1: mmdebstrap failed, as shown above"
  as_root install -D -m 644 "$scratch/tree.tar" "$PROGRAMS/$1.tar"
  as_root rm -r "$scratch"
}

need_modules() {
  lock=node_modules/.package-lock.json
  if [ ! -e "$lock" ] || [ -n "$(find package-lock.json -newer "$lock")" ]; then
    command -v npm >/dev/null 2>&1 || need nodejs npm
    say 'installing node_modules'
    NODE_OPTIONS="${NODE_OPTIONS-} --require=./bin/npm-engine.cjs" \
      npm ci --ignore-scripts --no-audit --no-fund
    touch "$lock"
  fi
}

# Sets $bun: the npm package brings several builds, of which not all run here.
find_bun() {
  for bun in "$PWD"/node_modules/@oven/bun-linux-*/bin/bun; do
    if "$bun" --version >/dev/null 2>&1; then return 0; fi
  done
  die 'no bun in node_modules runs on this machine'
}

build() {
  need_modules
  find_bun
  "$bun" bin/build.ts
  say "dist/minict: $(wc -c <dist/minict | tr -d ' ') bytes"
}

run_tests() {
  need_busybox
  need openvswitch-switch frr ethtool iputils-ping
  need buildah iproute2 iputils-arping util-linux xz-utils zstd shellcheck python3 curl strace procps nftables iptables btrfs-progs e2fsprogs
  need iperf3 tcpdump tshark runit systemd catatonit crun runc systemd-container golang-github-containers-common
  need_peers
  need_guest
  need_debian
  need_tree "$(sed -n 's/^  packages: \[\(.*\)\]$/\1/p' images/frr/recipe.yaml | tr -d ' ')"
  build
  # The native config loader writes no temporary file into node_modules.
  as_root "$bun" --bun node_modules/vitest/vitest.mjs run --configLoader native "$@"
}

# Tests in a Debian guest of its own, with systemd and cgroup v2.
run_vm_tests() {
  need_busybox
  need qemu-system-x86 mmdebstrap e2fsprogs kmod cpio
  need_debian
  build
  as_root "$bun" test/vm/run.ts "$@"
}

check() {
  need shellcheck
  need_modules
  status=0
  node_modules/.bin/biome ci ${NO_COLOR:+--colors=off} . || status=1
  node_modules/.bin/tsc --noEmit || status=1
  find . \( -name node_modules -o -name dist -o -name .git \) -prune -o \
    -type f \( -name '*.sh' -o -path './.ci/run' \) -exec shellcheck {} + || status=1
  return "$status"
}

setup() {
  need_busybox
  need iproute2 util-linux
  build
  # Written in large pieces, as bin/large-pages.ts wants it, and put in place at once.
  new=/usr/local/bin/.minict.new
  if ! { as_root dd if=dist/minict of="$new" bs=32M status=none && as_root chmod 755 "$new" &&
    as_root mv -fT "$new" /usr/local/bin/minict; }; then
    as_root rm -f "$new"
    die 'nothing is installed'
  fi
  say 'installed /usr/local/bin/minict'
}

verb=${1-}
[ $# -eq 0 ] || shift
case $verb in
  build) build ;;
  test) run_tests "$@" ;;
  vm) run_vm_tests "$@" ;;
  check) check ;;
  setup) setup ;;
  need) need "$@" ;;
  bun) find_bun && echo "$bun" ;;
  *)
    echo "usage: $0 build|test|vm|check|setup|need|bun" >&2
    exit 2
    ;;
esac
