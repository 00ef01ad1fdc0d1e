#!/bin/sh
# Measures dist/minict beside the bare tools, a shell script, crun and (where installed) podman and docker, in a
# throwaway host, and writes docs/benchmarks.md. What it installs: crun, hyperfine, bridge-utils, busybox-static, jq.
# Usage: run.sh            environment: BENCH_ROUNDS=15   BENCH_SCALE=1 (0: leave out the hundreds of containers)
#   BENCH_PROCESSES=1 (0: leave out processes)   BENCH_IMAGES=1 (0: leave out images and files)   BENCH_NETWORKS=1 (0: leave out networks)
#   BENCH_DIR=/var/tmp (where its files go meanwhile; no overlayfs)   BENCH_REPORT=docs/benchmarks.md
set -eu

cd "$(dirname "$0")/.."
BENCH_ROUNDS=${BENCH_ROUNDS:-15}
BENCH_SCALE=${BENCH_SCALE:-1}
BENCH_PROCESSES=${BENCH_PROCESSES:-1}
BENCH_IMAGES=${BENCH_IMAGES:-1}
BENCH_NETWORKS=${BENCH_NETWORKS:-1}
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
  exec sudo env BENCH_BUILT=1 BENCH_ROUNDS="$BENCH_ROUNDS" BENCH_SCALE="$BENCH_SCALE" BENCH_PROCESSES="$BENCH_PROCESSES" BENCH_IMAGES="$BENCH_IMAGES" BENCH_NETWORKS="$BENCH_NETWORKS" BENCH_DIR="$BENCH_DIR" \
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
[ "$BENCH_NETWORKS" = 0 ] || need iperf3 iperf3 qperf qperf
[ "$BENCH_IMAGES" = 0 ] || need skopeo skopeo umoci umoci docker-registry docker-registry curl curl

work=$(mktemp -d "$BENCH_DIR/minict-bench.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM
# A copy: a build meanwhile must not change what is measured. Made as `npm run setup` makes it (see bin/large-pages.ts).
dd if=dist/minict of="$work/minict" bs=32M status=none
chmod 755 "$work/minict"
# What the runtime alone costs: a program that does nothing but become /bin/true.
echo "process.execve('/bin/true', ['true'], {});" >"$work/becomes.ts"
bun=$(sh bin/prepare.sh bun)
"$bun" build --compile --bytecode --minify --format=esm "$work/becomes.ts" --outfile "$work/becomes" >/dev/null

# Mount-namespace ids are handed out per CPU, and `unshare --mount=FILE` fails where the new id is below that of the
# namespace it is called in: so a throwaway host is made on the CPU whose ids are behind, found by trial.
export BENCH_ROUNDS BENCH_SCALE BENCH_PROCESSES BENCH_IMAGES BENCH_NETWORKS
cpus=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
made=
for cpu in $(seq 0 $(($(getconf _NPROCESSORS_CONF) - 1))); do
  taskset -c "$cpu" true 2>/dev/null || continue
  status=0
  taskset -c "$cpu" unshare --mount --net --propagation private bash bench/measure.sh "$work" "$cpus" || status=$?
  [ "$status" -eq 77 ] && continue
  [ "$status" -eq 0 ] || exit "$status"
  made=1
  break
done
[ -n "$made" ] || die 'no throwaway host could be made in which unshare --mount=FILE works on every CPU'

date=$(date -u +%F)
command="BENCH_ROUNDS=$BENCH_ROUNDS BENCH_SCALE=$BENCH_SCALE BENCH_PROCESSES=$BENCH_PROCESSES BENCH_IMAGES=$BENCH_IMAGES BENCH_NETWORKS=$BENCH_NETWORKS npm run bench"
bash bench/report.sh "$work" "$command" "$date" >"$work/report.md"
mkdir -p "$(dirname "$BENCH_REPORT")"
cat "$work/report.md" >"$BENCH_REPORT"
cat "$BENCH_REPORT"
say "wrote $BENCH_REPORT"
