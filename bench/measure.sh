#!/bin/bash
# The measuring itself, inside a throwaway host that run.sh has made: a private mount and network namespace.
# Usage: measure.sh WORK CPUS      Ends with 77 where namespaces of mounts cannot be made on each of the CPUs. Writes WORK/times (label TAB microseconds, one line a sample) and WORK/facts (key TAB value).
set -euo pipefail
export LC_ALL=C

WORK=$1
MINICT=$WORK/minict
ROUNDS=$BENCH_ROUNDS
export MINICT_ROOT=$WORK/state ROOTS=$WORK/roots
TIMES=$WORK/times
FACTS=$WORK/facts
# In memory: a disk that discards what is truncated has its time measured.
LOG=/run/bench-log
mkdir -p "$ROOTS"

# `unshare --mount=FILE` must work whatever the CPU: see run.sh.
CPUS=$2
taskset -pc "$CPUS" $$ >/dev/null
mount -t tmpfs run /run
: >/run/probe
mount --bind /run /run
mount --make-private /run
for ((cpu = 0; cpu < $(getconf _NPROCESSORS_CONF); cpu++)); do
  taskset -c "$cpu" true 2>/dev/null || continue
  taskset -c "$cpu" unshare --mount=/run/probe true 2>/dev/null || exit 77
  umount /run/probe
done
umount /run /run

: >"$TIMES"
: >"$FACTS"
# shellcheck source=bench/peers.sh
. bench/peers.sh

step() { printf 'bench: %s\n' "$*" >&2; }
fact() { printf '%s\t%s\n' "$1" "$2" >>"$FACTS"; }

# timed LABEL COMMAND...: one sample. A command that fails ends the bench.
timed() {
  local label=$1 start end
  shift
  start=${EPOCHREALTIME/./}
  if ! "$@" >"$LOG" 2>&1; then
    step "failed: $*"
    cat "$LOG" >&2
    exit 1
  fi
  end=${EPOCHREALTIME/./}
  printf '%s\t%d\n' "$label" $((end - start)) >>"$TIMES"
}

quiet() {
  "$@" >"$LOG" 2>&1 || {
    step "failed: $*"
    cat "$LOG" >&2
    exit 1
  }
}

# A deleted namespace's links go a little later, by the kernel's own worker: not into the next sample.
settle() {
  local tries
  for ((tries = 0; tries < 500; tries++)); do
    [ "$(ip -o link show type veth | wc -l)" -gt "${1:-0}" ] || return 0
    sleep 0.01
  done
}

links() { ip -o link show type veth | wc -l; }

mine=
# shellcheck disable=SC2317 # called by the trap
clean_up() {
  local status=$? name pid group
  set +e
  [ -z "$DAEMON" ] || "${DAEMON}_teardown"
  for name in $("${CRUN[@]}" list -q 2>/dev/null); do "${CRUN[@]}" delete --force "$name"; done
  "$MINICT" ps -a -q 2>/dev/null | xargs -r "$MINICT" rm -f
  "$MINICT" system prune
  mine=$(cat "$MINICT_ROOT/instance" 2>/dev/null)
  for group in /sys/fs/cgroup/*/minict-bench /sys/fs/cgroup/minict-bench \
    ${mine:+/sys/fs/cgroup/minict-"$mine" /sys/fs/cgroup/*/minict-"$mine"}; do
    [ -d "$group" ] && find "$group" -depth -type d -exec rmdir {} \;
  done
  grep -o " $WORK/[^ ]*" /proc/self/mountinfo | sort -r | while read -r name; do umount -l "$name"; done
  for pid in $(jobs -p); do kill "$pid"; done
  exit "$status"
} >/dev/null 2>&1

# ---- the throwaway host
DAEMON=
LEFT_OUT=
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock /run/netns /run/bench-podman-networks
ip link set lo up
ip link add bench0 type bridge
ip addr add 192.168.0.1/16 dev bench0
ip link set bench0 up
# crun and podman refuse a hybrid hierarchy while cgroup2 has a controller of its own.
if grep -qs . /sys/fs/cgroup/unified/cgroup.controllers; then
  mount --bind /dev/null /sys/fs/cgroup/unified/cgroup.controllers
fi
trap clean_up EXIT
trap 'exit 130' INT TERM

# The first create makes the image and the network: a /16, so that hundreds of containers fit in.
quiet "$MINICT" create --ip 10.88.0.2/16 first
IMAGE=$("$MINICT" image inspect base | jq -r '.[0].directories[0]')
export IMAGE
quiet "$MINICT" rm -f first
settle
crun_setup
fact rounds "$ROUNDS"
fact size "$(stat -c %s "$MINICT")"
fact version "$("$MINICT" --version)"
fact crun "$(crun --version | sed -n '1s/.* //p')"

# ---- processes: those in this host's network namespace or in one of its containers'
processes() {
  local spaces pid count=0
  spaces=" $(stat -Lc %i /proc/self/ns/net /run/netns/* 2>/dev/null | tr '\n' ' ') "
  for pid in /proc/[0-9]*; do
    case $spaces in *" $(stat -Lc %i "$pid/ns/net" 2>/dev/null || echo none) "*) count=$((count + 1)) ;; esac
  done
  printf '%s' "$count"
}
step 'idle containers'
before=$(processes)
for i in 1 2 3 4 5 6 7 8 9 10; do quiet "$MINICT" create "idle$i"; done
after=$(processes)
fact idle-processes "$(((after - before) / 10))"
quiet "$MINICT" rm -f idle1 idle2 idle3 idle4 idle5 idle6 idle7 idle8 idle9 idle10
settle

# A few runs of each program by hyperfine, its options and programs as words: without what a shell takes to start one.
starts() {
  quiet hyperfine --shell=none --warmup 1 --runs 4 --export-json "$WORK/hyperfine.json" "$@"
  jq -r '.results[] | .command as $name | .times[] | "\($name)\t\(. * 1e6 | round)"' "$WORK/hyperfine.json" >>"$TIMES"
}

# ---- programs that only start
step "start-up and exec, $ROUNDS rounds"
quiet "$MINICT" create up
rootfs=$MINICT_ROOT/containers/up/rootfs
spaces='--net=/run/netns/up --uts=/run/utsns/up'
for ((round = 1; round <= ROUNDS; round++)); do
  starts \
    --command-name minict:version "$MINICT --version" \
    --command-name runtime:exec "$WORK/becomes" \
    --command-name minict:exec "$MINICT exec up /bin/true" \
    --command-name bare:exec "nsenter $spaces chroot $IMAGE /bin/true" \
    --command-name bare-mount:exec "nsenter --mount=/run/mntns/up $spaces chroot $rootfs /bin/true"
done
quiet "$MINICT" rm -f up
settle

# ---- one container at a time, all peers in every round, each round beginning with another
step "create, rm, run, $ROUNDS rounds"
one_of() {
  local peer=$1 name=$2 index=$3
  timed "$peer:create" "${peer}_create" "$name" "$index"
  if [ "$peer" = minict ]; then
    quiet "$MINICT" exec -d "$name" sleep 1000
    # The program has to be there, as crun's is.
    until grep -q . /sys/fs/cgroup/minict-*/"$name"/payload/cgroup.procs \
      /sys/fs/cgroup/*/minict-*/"$name"/payload/cgroup.procs 2>/dev/null; do sleep 0.001; done
  fi
  timed "$peer:rm" "${peer}_rm" "$name"
  settle
  if [ "$peer" != seed ]; then
    timed "$peer:run" "${peer}_run" "${name}r" "$index"
    settle
  fi
}
order=(minict seed crun)
for ((round = 0; round <= ROUNDS; round++)); do
  # Round 0 warms up.
  [ "$round" -ne 1 ] || sed -i '/:\(create\|rm\|run\)\t/d' "$TIMES"
  for ((k = 0; k < ${#order[@]}; k++)); do
    one_of "${order[$(((k + round) % ${#order[@]}))]}" "b${round}x$k" $((round % 12 * 20 + k + 1))
  done
done

# ---- many
# hundred LABEL PREFIX: a hundred creates in series, each a sample under LABEL:<number>, and their sum.
hundred() {
  local i start
  start=${EPOCHREALTIME/./}
  for ((i = 1; i <= 100; i++)); do timed "$1:$i" "$MINICT" create "$2$i"; done
  printf '%s\t%d\n' "$1:all" $((${EPOCHREALTIME/./} - start)) >>"$TIMES"
}
# shellcheck disable=SC2329 # called through timed
seed_hundred() { for ((i = 1; i <= 100; i++)); do seed_"$1" "s$i" "$i"; done; }
singly() { for ((i = 1; i <= 100; i++)); do "$MINICT" rm -f "$1$i"; done; }

if [ "$BENCH_SCALE" != 0 ]; then
  for ((repeat = 1; repeat <= BENCH_SCALE; repeat++)); do
    step "a hundred containers, $repeat of $BENCH_SCALE"
    hundred hundred h
    timed hundred:rm-at-once "$MINICT" rm -f h{1..100}
    settle
    timed seed:hundred-create seed_hundred create
    timed seed:hundred-rm seed_hundred rm
    settle
    step 'another hundred, removed one by one'
    hundred again h
    timed hundred:rm-singly singly h
    settle
  done
  step 'a hundred with three hundred there'
  for ((i = 1; i <= 300; i++)); do quiet "$MINICT" create "f$i"; done
  hundred crowded h
  timed crowded:rm-at-once "$MINICT" rm -f h{1..100}
  settle 300
  timed three-hundred:rm-at-once "$MINICT" rm -f f{1..300}
  settle
fi

# ---- podman and docker, each with minict beside it: their firewall rules are nobody else's
for peer in podman docker; do
  if ! command -v "$peer" >/dev/null || { [ "$peer" = docker ] && ! command -v dockerd >/dev/null; }; then
    LEFT_OUT="$LEFT_OUT $peer (not installed),"
    continue
  fi
  step "$peer, $ROUNDS rounds"
  DAEMON=$peer
  if "${peer}_setup" >"$LOG" 2>&1 && "${peer}_up" >"$LOG" 2>&1; then
    quiet "$MINICT" create up
    there=$(links)
    for ((round = 1; round <= ROUNDS; round++)); do
      timed "$peer:exec" "${peer}_exec"
      timed "beside-$peer:exec" "$MINICT" exec up /bin/true
      timed "$peer:run" "${peer}_run" "d$round"
      settle "$there"
      timed "beside-$peer:run" minict_run "m$round"
      settle "$there"
      timed "beside-$peer:run-crun" "$MINICT" run --rm --runtime crun "c$round" -- true
      settle "$there"
    done
    quiet "$MINICT" rm -f up
  else
    LEFT_OUT="$LEFT_OUT $peer (does not run in the throwaway host: $(tail -n 1 "$LOG")),"
  fi
  "${peer}_teardown" >"$LOG" 2>&1 || :
  DAEMON=
done
fact left-out "${LEFT_OUT%,}"

# shellcheck source=bench/processes.sh
[ "$BENCH_PROCESSES" = 0 ] || . bench/processes.sh
# shellcheck source=bench/networks.sh
[ "$BENCH_NETWORKS" = 0 ] || . bench/networks.sh
# shellcheck source=bench/images.sh
[ "$BENCH_IMAGES" = 0 ] || . bench/images.sh
