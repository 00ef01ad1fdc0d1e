#!/bin/sh
# Measures dist/minict beside the bare tools, a shell script, crun and (where installed) podman and docker, in a
# throwaway host, and writes docs/benchmarks.md. What it installs: crun, hyperfine, bridge-utils, busybox-static, jq.
# Usage: run.sh            environment: BENCH_ROUNDS=15   BENCH_SCALE=1 (0: leave out the hundreds of containers)
#   BENCH_DIR=/var/tmp (where its files go meanwhile; no overlayfs)   BENCH_REPORT=docs/benchmarks.md
set -eu

cd "$(dirname "$0")/.."
BENCH_ROUNDS=${BENCH_ROUNDS:-15}
BENCH_SCALE=${BENCH_SCALE:-1}
BENCH_DIR=${BENCH_DIR:-/var/tmp}
BENCH_REPORT=${BENCH_REPORT:-docs/benchmarks.md}

say() { printf 'bench: %s\n' "$*"; }
die() {
  printf 'bench: %s\n' "$*" >&2
  exit 1
}

# Built by the user who calls, so that nothing in the tree becomes root's.
if [ "${BENCH_BUILT-}" != 1 ]; then sh bin/prepare.sh build; fi
if [ "$(id -u)" -ne 0 ]; then
  exec sudo env BENCH_BUILT=1 BENCH_ROUNDS="$BENCH_ROUNDS" BENCH_SCALE="$BENCH_SCALE" BENCH_DIR="$BENCH_DIR" \
    BENCH_REPORT="$BENCH_REPORT" sh bench/run.sh
fi

# need TOOL PACKAGE ...: installs the packages of those tools that are missing.
need() {
  missing=
  while [ $# -gt 0 ]; do
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
    shift 2
  done
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null 2>&1 || die "apt-get not found; please install:$missing"
  say "installing$missing"
  apt-get update
  # shellcheck disable=SC2086 # one word for each package
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}

need bash bash ip iproute2 unshare util-linux crun crun hyperfine hyperfine brctl bridge-utils busybox busybox-static jq jq

work=$(mktemp -d "$BENCH_DIR/minict-bench.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM
# A copy: a build meanwhile must not change what is measured.
cp dist/minict "$work/minict"

# One CPU for all: mount-namespace ids are handed out per CPU, and in a nested namespace `unshare --mount=FILE` fails by
# chance where they come out of order.
cpu=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*\([0-9]*\).*/\1/p' /proc/self/status)
export BENCH_ROUNDS BENCH_SCALE
taskset -c "$cpu" unshare --mount --net --propagation private bash bench/measure.sh "$work"

date=$(date -u +%F)
command=$(printf 'BENCH_ROUNDS=%s BENCH_SCALE=%s npm run bench' "$BENCH_ROUNDS" "$BENCH_SCALE")
bash bench/report.sh "$work" "$command" "$date" >"$work/report.md"
mkdir -p "$(dirname "$BENCH_REPORT")"
cat "$work/report.md" >"$BENCH_REPORT"
cat "$BENCH_REPORT"
say "wrote $BENCH_REPORT"
