#!/bin/sh
# Two Debian web servers in containers of their own: test01 and test02.
# Usage: demo.sh [--clean]      (--clean removes what the demo made)
set -eu

cd "$(dirname "$0")/.."

if [ "$(id -u)" -eq 0 ]; then SUDO=; else SUDO=sudo; fi
state=/var/lib/minict
cache=/var/cache/minict-demo
key=$cache/id_ed25519
minict=$PWD/dist/minict

headline() { printf '\n==> %s\n' "$*"; }
die() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}
[ -z "$SUDO" ] || command -v sudo >/dev/null 2>&1 || die 'not root, and sudo is not installed'

# Ctrl-C can reach minict alone (sudo gives it a terminal of its own): then the demo stops, too.
minict() {
  $SUDO "$minict" "$@" && return 0
  status=$?
  [ "$status" -lt 128 ] || exit "$status"
  return "$status"
}

has_image() { minict image ls -q | grep -qxF "$1"; }
has_container() { minict inspect "$1" >/dev/null 2>&1; }

# The demo removes only what it made itself; a file in the cache marks each, before it is made, as a demo can be stopped.
mark() { $SUDO touch "$cache/made-$1"; }
unmark() { $SUDO rm -f "$cache/made-$1"; }
marked() { $SUDO test -e "$cache/made-$1"; }

clean() {
  [ -x "$minict" ] || sh bin/prepare.sh build
  for name in test01 test02; do
    if marked "$name" && has_container "$name"; then
      headline "Removing container $name"
      minict rm -f "$name"
    fi
  done
  for image in web-bookworm web-trixie; do
    if marked "$image" && has_image "$image"; then
      headline "Removing image $image"
      minict image rm "$image"
    fi
  done
  if marked network || marked state; then
    headline 'Removing the default network, unless a container is in it, and what a stopped demo has left'
    minict system prune
  fi
  if marked state && [ -z "$(minict ps -a -q; minict image ls -q; minict network ls -q; minict volume ls -q)" ]; then
    headline "Removing $state"
    $SUDO rm -rf --one-file-system "$state" /run/minict
  fi
  headline "Removing $cache"
  $SUDO rm -rf "$cache"
}

# image SUITE: builds it unless minict has it already.
image() {
  if has_image "web-$1"; then
    headline "Image web-$1 is there already"
    return 0
  fi
  headline "Building image web-$1: Debian $1 with nginx and sshd"
  mark "web-$1"
  minict image build images/web "web-$1" --suite "$1" && return 0
  unmark "web-$1"
  return 1
}

# create NAME IMAGE IP
create() {
  if has_container "$1"; then
    marked "$1" || die "a container $1 exists that this demo did not make; remove or rename it first"
    headline "Container $1 is there already"
    minict start "$1"
    return 0
  fi
  headline "Creating $1 from $2 at $3"
  mark "$1"
  minict create "$1" --image "$2" --ip "$3" && return 0
  # The host may have this subnet, or another container this address.
  headline "Letting minict choose the address of $1"
  minict create "$1" --image "$2" && return 0
  unmark "$1"
  die "$1 could not be created"
}

address() {
  minict inspect "$1" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["address"].split("/")[0])'
}

get() { curl -sS --noproxy '*' --retry 10 --retry-delay 1 --retry-connrefused --max-time 30 "http://$1/"; }

# remote ADDRESS COMMAND...
remote() {
  host=root@$1
  shift
  $SUDO ssh -i "$key" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10 \
    -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$host" "$@"
}

case ${1-} in
  '') ;;
  --clean)
    clean
    exit 0
    ;;
  *)
    echo "usage: $0 [--clean]" >&2
    exit 2
    ;;
esac

headline 'Building minict'
sh bin/prepare.sh build
sh bin/prepare.sh need curl debian-archive-keyring iproute2 mmdebstrap openssh-client procps python3 util-linux
$SUDO mkdir -p "$cache"
[ -e "$state" ] || mark state

image bookworm || die 'the bookworm image could not be made'
second=web-trixie
if ! image trixie; then
  headline 'The trixie image could not be made: using bookworm for both containers'
  second=web-bookworm
fi

ip link show minict0 >/dev/null 2>&1 || mark network
create test01 web-bookworm 192.168.0.11
create test02 "$second" 192.168.0.12
address01=$(address test01)
address02=$(address test02)

headline 'Making an ssh key for the demo'
$SUDO test -e "$key" || $SUDO ssh-keygen -q -t ed25519 -N '' -C minict-demo -f "$key"

for name in test01 test02; do
  headline "Giving $name its own web page and the ssh key, and starting nginx and sshd"
  minict exec "$name" sh -c 'hostname >/var/www/html/index.html'
  $SUDO cat "$key.pub" |
    minict exec -i "$name" sh -c 'mkdir -p /root/.ssh && cat >/root/.ssh/authorized_keys'
  for service in nginx ssh; do
    if ! minict exec "$name" "/etc/init.d/$service" status >/dev/null 2>&1; then
      minict exec "$name" "/etc/init.d/$service" start
    fi
  done
done

headline 'On the host both nginx masters are ordinary processes'
pgrep -af 'nginx: [m]aster'

headline 'Listening in test01 (ss -N test01 -tlp)'
$SUDO ss -N test01 -tlp

headline 'Both web servers answer, each on its own address'
for address in "$address01" "$address02"; do
  printf '%s: ' "$address"
  get "$address"
done

headline 'So do both ssh servers (cat /etc/debian_version)'
for address in "$address01" "$address02"; do
  printf '%s: ' "$address"
  remote "$address" cat /etc/debian_version
done

headline 'What to try next'
cat <<END
  ${SUDO:+$SUDO }dist/minict exec test01 ps aux
  ${SUDO:+$SUDO }dist/minict inspect test01
  ${SUDO:+$SUDO }ip netns exec test01 ip address
  curl http://$address02/
  ${SUDO:+$SUDO }ssh -i $key root@$address01

To remove the containers, the images and the cache:
  npm run demo -- --clean
END
