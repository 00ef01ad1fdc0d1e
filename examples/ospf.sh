#!/bin/sh
# Three routers in a triangle, joined by cables: FRR's OSPF finds the ways to their loopbacks, BGP tells of one more prefix each.
# The daemons are Debian's, in an image of their own (images/frr).
# Usage: ospf.sh [--clean]      (the first time needs mmdebstrap or debootstrap; --clean removes the routers, the image stays)
# Then: minict exec r1 vtysh -c 'show ip ospf neighbor'; minict link down r1:to-r3; minict exec r1 traceroute -n 10.255.0.3
set -eu

minict=${MINICT:-minict}

if [ "${1-}" = --clean ]; then
  exec "$minict" rm -f r1 r2 r3
fi
# Made once: from then on each step is taken over.
"$minict" image build "$(dirname "$0")/../images/frr" frr

config() { # NUMBER PEER PEER: a router's own number, and the addresses of its neighbours
  cat <<CONFIG
frr defaults datacenter
hostname r$1
interface lo
 ip address 10.255.0.$1/32
 ip address 198.51.100.$1/32
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
CONFIG
  # Without an election of a designated router, and five hellos a second.
  for number in 1 2 3; do
    [ "$number" = "$1" ] || printf 'interface to-r%s\n ip ospf network point-to-point\n ip ospf dead-interval minimal hello-multiplier 5\n' "$number"
  done
}

# Each cable is asked for at both of its ends; who comes first has one without carrier until the other is there.
router() { # NUMBER, then what `create` takes
  name=r$1
  shift
  "$minict" create "$name" --image frr --router --service '/etc/init.d/frr start' "$@"
}
router 1 --nic p2p:r2,name=to-r2,ip=10.0.12.1/30 --nic p2p:r3,name=to-r3,ip=10.0.13.1/30
router 2 --nic p2p:r1,name=to-r1,ip=10.0.12.2/30 --nic p2p:r3,name=to-r3,ip=10.0.23.2/30
router 3 --nic p2p:r1,name=to-r1,ip=10.0.13.2/30 --nic p2p:r2,name=to-r2,ip=10.0.23.1/30

configure() { # NUMBER PEER PEER
  config "$@" | "$minict" exec -i "r$1" sh -c 'cat >/etc/frr/frr.conf'
}
configure 1 10.0.12.2 10.0.13.2
configure 2 10.0.12.1 10.0.23.1
configure 3 10.0.13.1 10.0.23.2
"$minict" start r1 r2 r3
