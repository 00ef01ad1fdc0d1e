#!/bin/sh
# Undo of seed-create.sh. Usage: seed-rm.sh NAME      environment: ROOTS
set -e
name=$1
root=$ROOTS/$name

umount -R "$root"
rmdir "$root"
ip netns del "$name"
umount "/run/utsns/$name"
rm "/run/utsns/$name"
