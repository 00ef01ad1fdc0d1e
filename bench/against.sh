#!/bin/bash
# Two builds, or more, side by side: medians of verbs, in milliseconds, the builds taking turns.
# Usage: bench/against.sh BINARY...      ROUNDS=25 is how many times.
# Such figures stand in docs/architecture.md. Give it copies that are equally old, made by one `dd bs=32M` each: how a file
# came into the page cache is worth a millisecond.
set -euo pipefail

if [ "${1-}" != inside ]; then
  [ "$(id -u)" -eq 0 ] || exec sudo "$0" "$@"
  work=$(mktemp -d /var/tmp/minict-against.XXXXXX)
  trap 'rm -rf --one-file-system "$work"' EXIT
  paths=()
  for binary; do paths+=("$(realpath "$binary")"); done
  # `unshare --mount=FILE` works where ids of namespaces grow: on the CPU that is behind (see run.sh).
  for cpu in $(seq 0 $(($(getconf _NPROCESSORS_CONF) - 1))); do
    status=0
    taskset -c "$cpu" unshare --mount --net --propagation private "$0" inside "$work" "${paths[@]}" || status=$?
    [ "$status" -eq 77 ] || exit "$status"
  done
  echo 'against: no throwaway host could be made' >&2
  exit 1
fi

shift
export MINICT_ROOT=$1/state
times=$1/times
shift
mount -t tmpfs run /run
ip link set lo up
taskset -pc "0-$(($(getconf _NPROCESSORS_CONF) - 1))" $$ >/dev/null
: >/run/probe
for cpu in $(seq 0 $(($(getconf _NPROCESSORS_CONF) - 1))); do
  taskset -c "$cpu" unshare --mount=/run/probe true 2>/dev/null || exit 77
  umount /run/probe
done

timed() { # VERB BINARY WORDS...
  local verb=$1 start=${EPOCHREALTIME/./}
  "${@:2}" </dev/null >/dev/null
  printf '%s\t%s\t%d\n' "$verb" "$2" $((${EPOCHREALTIME/./} - start)) >>"$times"
}

"$1" network create other --subnet 10.77.0.0/24 >/dev/null
"$1" create stays >/dev/null
for ((round = 0; round < ${ROUNDS:-25}; round++)); do
  for minict; do
    timed --version "$minict" --version
    timed create "$minict" create x
    timed exec "$minict" exec x /bin/true
    timed start "$minict" start x
    timed ps "$minict" ps
    "$minict" exec -d x sleep 100
    timed 'rm -f' "$minict" rm -f x
    timed 'run --rm' "$minict" run --rm x -- true
    timed connect "$minict" network connect other stays
    "$minict" network disconnect other stays >/dev/null
    # What the kernel has left of them.
    sleep 0.05
  done
  # Others come first.
  set -- "${@:2}" "$1"
done
"$1" rm -f stays >/dev/null
"$1" network rm other >/dev/null
"$1" system prune >/dev/null
sort -t $'\t' -k 1,1 -k 2,2 -k 3,3n "$times" | awk -F '\t' '
  function say() {
    printf "%-10s %6.2f ms, lowest tenth %6.2f  %s\n", verb, t[int((n + 1) / 2)] / 1000, t[int((n + 9) / 10)] / 1000, of
  }
  verb FS of != $1 FS $2 { if (n) say(); n = 0; verb = $1; of = $2 }
  { t[++n] = $3 }
  END { say() }'
