# shellcheck shell=bash
# Networks. Sourced by measure.sh, in whose throwaway host it runs.

# NICs of one container, half of them in each of two networks.
nics() {
  local i
  for ((i = 0; i < $1; i++)); do printf -- '--nic lan%d ' $((i % 2)); done
}

# The same pairs of veth, with the same settings, by one `ip -batch` on the host and one inside.
bare_batches() {
  local i mac
  for ((i = 0; i < $1; i++)); do
    mac=$(printf '%02x:%02x' $((i / 256)) $((i % 256)))
    printf 'link add name bare%d address 02:00:00:00:%s type veth peer name eth%d address 02:00:00:01:%s netns bare\n' "$i" "$mac" "$i" "$mac"
    printf 'link set dev bare%d master bare-br%d alias bench:bare%d addrgenmode none\n' "$i" $((i % 2)) "$i"
    printf 'link set dev bare%d up\n' "$i"
  done >"$WORK/outside"
  for ((i = 0; i < $1; i++)); do
    printf 'link set dev eth%d addrgenmode none\n' "$i"
    printf 'addr add 10.90.%d.%d/16 brd + dev eth%d\n' $((i / 250)) $((i % 250 + 2)) "$i"
    printf 'link set dev eth%d up\n' "$i"
  done >"$WORK/inside"
}

bare_wire() { ip -batch "$WORK/outside" && ip -n bare -batch "$WORK/inside"; }

networks_rounds=$(((ROUNDS + 2) / 3))
quiet "$MINICT" network create lan0 --subnet 10.91.0.0/16
quiet "$MINICT" network create lan1 --subnet 10.92.0.0/16
step "connect, $ROUNDS rounds"
quiet "$MINICT" create wired
quiet "$MINICT" network connect lan0 wired
for ((round = 1; round <= ROUNDS; round++)); do
  starts --prepare "$MINICT network disconnect lan0 wired" \
    --command-name networks:connect "$MINICT network connect lan0 wired"
done
quiet "$MINICT" rm -f wired
settle

step "interfaces of one container, $ROUNDS rounds"
for ((round = 1; round <= ROUNDS; round++)); do
  # shellcheck disable=SC2046 # words
  timed networks:one "$MINICT" create wired $(nics 1)
  quiet "$MINICT" rm wired
  settle
  # shellcheck disable=SC2046
  timed networks:twenty "$MINICT" create wired $(nics 20)
  quiet "$MINICT" rm wired
  settle
done

step "1,000 interfaces, $networks_rounds rounds"
bare_batches 1000
for link in bare-br0 bare-br1; do
  ip link add name "$link" type bridge
  ip link set dev "$link" up
done
for ((round = 1; round <= networks_rounds; round++)); do
  # shellcheck disable=SC2046
  timed networks:thousand "$MINICT" create wired $(nics 1000)
  quiet "$MINICT" rm wired
  settle
  ip netns add bare
  timed networks:bare bare_wire
  ip netns del bare
  settle
done
ip link del dev bare-br0
ip link del dev bare-br1

# Two pairs of namespaces, each pair on a bridge: minict's, and by hand.
step "throughput, $ROUNDS rounds"
quiet "$MINICT" create near --nic lan0,ip=10.91.0.2
quiet "$MINICT" create far --nic lan0,ip=10.91.0.3
ip link add name bare-br0 type bridge
ip link set dev bare-br0 up
for end in 2 3; do
  ip netns add "bare$end"
  ip -n "bare$end" link set dev lo up
  ip link add name "bare$end" type veth peer name eth0 netns "bare$end"
  ip link set dev "bare$end" master bare-br0 up
  ip -n "bare$end" addr add "10.91.0.$end/16" dev eth0
  ip -n "bare$end" link set dev eth0 up
done
# Both ends on one CPU: where one has to wake another up, a run differs from the next by a third.
on() { taskset -c "${CPUS%%[-,]*}" ip netns exec "$@"; }
for space in far bare3; do
  on "$space" iperf3 --server >/dev/null 2>&1 &
  on "$space" qperf >/dev/null 2>&1 &
  answers ip netns exec "$space" bash -c ': </dev/tcp/127.0.0.1/5201'
  answers ip netns exec "$space" bash -c ': </dev/tcp/127.0.0.1/19765'
done
# figure LABEL COMMAND...: what it prints, kept as thousandths, as times are.
figure() {
  local label=$1
  shift
  printf '%s\t%d\n' "$label" "$("$@" | awk '{ printf "%d", $1 * 1000 }')" >>"$TIMES"
}
# Gbit/s, and microseconds.
stream() { on "$1" iperf3 --client 10.91.0.3 --time 1 --json | jq '.end.sum_received.bits_per_second / 1e9'; }
latency() { on "$1" qperf --time 1 10.91.0.3 "$2" | awk '/latency/ { print $3 * ($4 == "ms" ? 1000 : 1) }'; }
figures() { # LABEL-PREFIX NAMESPACE
  for _ in 1 2 3; do figure "networks:$1stream" stream "$2"; done
  for kind in tcp_lat udp_lat; do figure "networks:$1$kind" latency "$2" "$kind"; done
}
# One after the other comes first: single ones differ by a tenth.
for ((round = 1; round <= ROUNDS; round++)); do
  ((round % 2)) || figures bare- bare2
  figures '' near
  ((round % 2 == 0)) || figures bare- bare2
done
for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
quiet "$MINICT" rm -f near far
for end in 2 3; do ip netns del "bare$end"; done
ip link del dev bare-br0
quiet "$MINICT" network rm lan0 lan1
settle
