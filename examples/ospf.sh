#!/bin/sh
# Three routers in a triangle, joined by cables: FRR's OSPF finds the ways to their loopbacks, BGP tells of one more prefix each.
# Usage: ospf.sh [--clean]      (needs Debian's frr; --clean removes routers and daemons)
# Then: minict exec r1 ping 10.255.0.3; minict link down r1:to-r3; minict exec r1 traceroute -n 10.255.0.3
set -eu

minict=${MINICT:-minict}
state=${FRR_STATE:-/run/minict-ospf}
frr=/usr/lib/frr

# Whoever runs in a router's network namespace: the container itself needs no FRR.
end_daemons() {
  for file in "$state"/*/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || continue
    while kill -0 "$pid" 2>/dev/null && [ "$(ps -o stat= -p "$pid" | cut -c 1)" != Z ]; do sleep 0.05; done
  done
}

if [ "${1-}" = --clean ]; then
  end_daemons
  "$minict" rm -f r1 r2 r3
  rm -rf "$state"
  exit
fi
[ -x "$frr/ospfd" ] || { echo 'ospf.sh: no FRR here (apt-get install --no-install-recommends frr)' >&2; exit 1; }

# Each cable is asked for at both of its ends; who comes first has one without carrier until the other is there.
"$minict" create r1 --router --nic p2p:r2,name=to-r2,ip=10.0.12.1/30 --nic p2p:r3,name=to-r3,ip=10.0.13.1/30
"$minict" create r2 --router --nic p2p:r1,name=to-r1,ip=10.0.12.2/30 --nic p2p:r3,name=to-r3,ip=10.0.23.2/30
"$minict" create r3 --router --nic p2p:r1,name=to-r1,ip=10.0.13.2/30 --nic p2p:r2,name=to-r2,ip=10.0.23.1/30

config() { # NUMBER PEER PEER: a router's own number, and the addresses of its neighbours
  cat <<EOF
frr defaults datacenter
hostname r$1
router ospf
 ospf router-id 10.255.0.$1
 timers throttle spf 0 50 500
 timers throttle lsa all 0
 timers lsa min-arrival 0
 network 10.0.0.0/8 area 0
router bgp 6500$1
 bgp router-id 10.255.0.$1
 no bgp ebgp-requires-policy
 neighbor $2 remote-as external
 neighbor $2 timers connect 1
 neighbor $3 remote-as external
 neighbor $3 timers connect 1
 address-family ipv4 unicast
  network 198.51.100.$1/32
EOF
  # Without an election of a designated router, and five hellos a second.
  for number in 1 2 3; do
    [ "$number" = "$1" ] || printf 'interface to-r%s\n ip ospf network point-to-point\n ip ospf dead-interval minimal hello-multiplier 5\n' "$number"
  done
}

start_router() { # NUMBER PEER PEER
  dir=$state/r$1
  mkdir -p "$dir"
  config "$@" >"$dir/frr.conf"
  chown -R frr:frr "$state"
  # Its own address, and the prefix that BGP tells of.
  ip -n "r$1" addr add "10.255.0.$1/32" dev lo
  ip -n "r$1" addr add "198.51.100.$1/32" dev lo
  for daemon in zebra ospfd bgpd; do
    nsenter --net="/run/netns/r$1" "$frr/$daemon" -d -f "$dir/frr.conf" -i "$dir/$daemon.pid" -z "$dir/zserv.api" \
      --vty_socket "$dir" -A 127.0.0.1 -P 0 >"$dir/$daemon.out" 2>&1 || { cat "$dir/$daemon.out" >&2; exit 1; }
  done
}
start_router 1 10.0.12.2 10.0.13.2
start_router 2 10.0.12.1 10.0.23.1
start_router 3 10.0.13.1 10.0.23.2

printf '%s\n' 'vtysh --vty_socket /run/minict-ospf/r1 -c "show ip ospf neighbor" shows them meet; ospf.sh --clean ends it all'
