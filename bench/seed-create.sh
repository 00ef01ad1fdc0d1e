#!/bin/sh
# A container by the host's own commands, one by one, without a runner: the yardstick for `minict create`.
# Usage: seed-create.sh NAME ADDRESS      environment: IMAGE (an unpacked root), ROOTS (folder for mount points)
# Needs the bridge bench0 with 192.168.0.1/24.
set -e
name=$1
address=$2
root=$ROOTS/$name

mkdir -p /run/utsns "$root"
mount --bind "$IMAGE" "$root"
touch "/run/utsns/$name"
unshare --uts="/run/utsns/$name" hostname "$name"
ip netns add "$name"
ip link add name "$name-br" type veth peer name "$name-ct"
brctl addif bench0 "$name-br"
ip link set "$name-ct" netns "$name"
ip netns exec "$name" ip addr add "$address/24" dev "$name-ct"
ip netns exec "$name" ip link set up lo
ip netns exec "$name" ip link set "$name-ct" up
ip link set "$name-br" up
ip netns exec "$name" ip route add default via 192.168.0.1
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --make-rslave "$root/sys"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
