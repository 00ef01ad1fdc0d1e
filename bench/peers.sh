# shellcheck shell=bash
# The peers, each as NAME_create, NAME_rm, NAME_run with the arguments CONTAINER INDEX. Sourced by measure.sh, which sets
# WORK, IMAGE (the root file system that all of them use), ROOTS and MINICT.

# 192.168.0.2 onwards; the bridge has .1.
address_of() { printf '192.168.%d.%d' $(($1 / 250)) $((2 + $1 % 250)); }

minict_create() { "$MINICT" create "$1"; }
minict_rm() { "$MINICT" rm -f "$1"; }
minict_run() { "$MINICT" run --rm "$1" -- true; }

seed_create() { sh bench/seed-create.sh "$1" "$(address_of "$2")"; }
seed_rm() { sh bench/seed-rm.sh "$1"; }

CRUN=(crun --cgroup-manager=cgroupfs --root /run/bench-crun)

crun_setup() {
  mkdir -p /run/bench-spec "$WORK/overlays"
  (cd /run/bench-spec && crun spec)
  jq '.process.terminal = false | .hostname = "@NAME@" | .root = {path: "@ROOT@", readonly: false}
    | .process.args = ["@PROGRAM@", "@ARGUMENT@"] | .linux.cgroupsPath = "/minict-bench/@NAME@"
    | .linux.namespaces |= map(if .type == "network" then .path = "/run/netns/@NAME@" else . end)' \
    /run/bench-spec/config.json >/run/bench-spec/template
}

# What a runner around crun has to do: overlay, network namespace, veth into the bridge, addresses; in few processes.
crun_prepare() {
  local name=$1 dir=$WORK/overlays/$1 bundle=/run/bench-bundles/$1
  mkdir -p "$dir/upper" "$dir/work" "$dir/root" "$bundle"
  mount -t overlay overlay -o "lowerdir=$IMAGE,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
  ip netns add "$name"
  ip -batch - <<X
link add name $name-br master bench0 type veth peer name eth0 netns $name
link set $name-br up
X
  ip -n "$name" -batch - <<X
addr add $(address_of "$2")/16 dev eth0
link set lo up
link set eth0 up
route add default via 192.168.0.1
X
  sed "s,@NAME@,$name,;s,@ROOT@,$dir/root,;s,@PROGRAM@,$3,;s,@ARGUMENT@,$4," /run/bench-spec/template >"$bundle/config.json"
}

crun_clean() {
  umount "$WORK/overlays/$1/root"
  ip netns del "$1"
  rm -rf "$WORK/overlays/$1" "/run/bench-bundles/$1"
}

crun_create() {
  crun_prepare "$1" "$2" /bin/sleep 1000
  "${CRUN[@]}" run --detach --bundle "/run/bench-bundles/$1" "$1" </dev/null
}
crun_rm() {
  "${CRUN[@]}" delete --force "$1"
  crun_clean "$1"
}
crun_run() {
  crun_prepare "$1" "$2" /bin/true x
  "${CRUN[@]}" run --bundle "/run/bench-bundles/$1" "$1" </dev/null
  crun_clean "$1"
}

# The hard limits of whoever calls: without them podman asks for more than it may have.
ULIMITS=(--ulimit "nofile=1024:$(ulimit -Hn)" --ulimit nproc=4096:4096)
PODMAN=(podman --root "$WORK/podman" --runroot /run/bench-podman --tmpdir /run/bench-libpod --cgroup-manager=cgroupfs
  --events-backend=file --storage-driver overlay --network-config-dir /run/bench-podman-networks)

podman_setup() {
  tar -C "$IMAGE" -c . | "${PODMAN[@]}" import - minict-bench:1
  "${PODMAN[@]}" network create --subnet 10.89.0.0/16 --disable-dns bench
}
podman_up() { "${PODMAN[@]}" run -d --name up --network bench "${ULIMITS[@]}" minict-bench:1 /bin/sleep 1000; }
podman_down() { "${PODMAN[@]}" rm -f -t 0 up; }
podman_run() { "${PODMAN[@]}" run --rm --name "$1" --network bench "${ULIMITS[@]}" minict-bench:1 /bin/true; }
podman_exec() { "${PODMAN[@]}" exec up /bin/true; }
podman_teardown() {
  "${PODMAN[@]}" rm -f -t 0 -a || :
  umount -R "$WORK/podman/overlay" 2>/dev/null || :
}

# answers COMMAND...: waits until it works, 20 seconds at most.
answers() {
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  return 1
}

# A daemon of the bench's own, in the throwaway host.
export DOCKER_HOST=unix:///run/bench-docker.sock
docker_setup() {
  mkdir -p "$WORK/containerd" "$WORK/docker"
  containerd --root "$WORK/containerd" --state /run/bench-containerd --address /run/bench-containerd/sock >"$WORK/containerd.log" 2>&1 &
  CONTAINERD=$!
  answers test -S /run/bench-containerd/sock
  dockerd --data-root "$WORK/docker" --exec-root /run/bench-docker -H "$DOCKER_HOST" -p /run/bench-docker.pid \
    --containerd /run/bench-containerd/sock --storage-driver overlay2 --cgroup-parent /minict-bench \
    --exec-opt native.cgroupdriver=cgroupfs --bip 10.77.0.1/24 --userland-proxy=false >"$WORK/dockerd.log" 2>&1 &
  DOCKERD=$!
  answers docker info
  tar -C "$IMAGE" -c . | docker import - minict-bench:1
}
docker_up() { docker run -d --name up minict-bench:1 /bin/sleep 1000; }
docker_down() { docker rm -f up; }
docker_run() { docker run --rm --name "$1" minict-bench:1 /bin/true; }
docker_exec() { docker exec up /bin/true; }
docker_teardown() {
  docker ps -aq | xargs -r docker rm -f
  # dockerd first: it puts away what containerd has.
  kill "$DOCKERD"
  wait "$DOCKERD" || :
  kill "$CONTAINERD"
  wait "$CONTAINERD" || :
  umount -R "$WORK/docker/overlay2" 2>/dev/null || :
}
