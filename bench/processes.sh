# shellcheck shell=bash
# Processes: PID namespaces, runtimes, and a hundred containers that run. Sourced by measure.sh, in whose throwaway host it runs.

# The same bundle, in the same namespaces, by crun alone: what minict made of a container, with another program.
bundle=/run/bench-bundle
# shellcheck disable=SC2329 # called through timed
bare_crun() {
  nsenter --mount=/run/mntns/box --net=/run/netns/box --uts=/run/utsns/box --ipc=/run/ipcns/box --cgroup=/run/cgroupns/box \
    crun --root /run/bench-crun-bare --cgroup-manager disabled run --bundle "$bundle" bare </dev/null
}

step "PID namespaces and crun, $ROUNDS rounds"
quiet "$MINICT" create --runtime crun box
mkdir -p "$bundle"
jq '.process.args = ["/bin/true"]' /run/minict/box/oci/config.json >"$bundle/config.json"
# pairs LABEL OPTION...: what the options add is a few milliseconds of many: the two come in pairs, each first in turn, and their
# difference counts.
pairs() {
  local label=$1 round k
  shift
  for ((round = 1; round <= ROUNDS * 3; round++)); do
    for ((k = 0; k < 2; k++)); do
      if (((round + k) % 2)); then
        timed processes:run "$MINICT" run --rm one -- true
      else
        timed "processes:run-$label" "$MINICT" run --rm "$@" one -- true
      fi
      settle 1
    done
    tail -n 2 "$TIMES" | awk -F '\t' -v label="$label" '
      { us[$1] = $2 }
      END { printf "processes:%s-extra\t%d\n", label, us["processes:run-" label] - us["processes:run"] }' >>"$TIMES.pair"
    cat "$TIMES.pair" >>"$TIMES"
    rm "$TIMES.pair"
  done
}

pairs init --init
pairs crun --runtime crun
for ((round = 1; round <= ROUNDS; round++)); do
  timed processes:bare-crun bare_crun
  timed processes:run-hardened "$MINICT" run --rm --profile hardened one -- true
  settle 1
done
quiet "$MINICT" rm -f box
settle

step 'a hundred containers that run'
hundred_names=$(printf 'r%d ' {1..100})
for name in $hundred_names; do quiet "$MINICT" run -d "$name" -- sleep 10000; done
for ((round = 1; round <= ROUNDS; round++)); do timed processes:stats "$MINICT" stats --no-stream; done

supervisors() {
  find /sys/fs/cgroup -path "*/minict-$(cat "$MINICT_ROOT/instance")/supervisor@*/cgroup.procs" -exec cat {} + | sort -u
}
# Kilobytes of their memory, and how often they have been put on a CPU.
pss() { for pid in $(supervisors); do sed -n 's/^Pss: *\([0-9]*\) kB$/\1/p' "/proc/$pid/smaps_rollup"; done | awk '{ sum += $1 } END { print sum }'; }
wakes() { for pid in $(supervisors); do sed -n 's/^\(non\)\?voluntary_ctxt_switches:[[:space:]]*//p' "/proc/$pid/status"; done | awk '{ sum += $1 } END { print sum }'; }
fact supervisors "$(supervisors | wc -l)"
fact pss-megabytes "$(awk -v kb="$(pss)" 'BEGIN { printf "%.1f", kb / 1000 }')"
before=$(wakes)
sleep 5
fact wakes "$(($(wakes) - before))"
# shellcheck disable=SC2086 # words
timed processes:stop "$MINICT" stop $hundred_names
# shellcheck disable=SC2086
quiet "$MINICT" rm $hundred_names
settle
