# shellcheck shell=bash
# Images and files of containers. Sourced by measure.sh, in whose throwaway host it runs.

TARBALL=$WORK/big.tar
UPPER=$MINICT_ROOT/containers/writer/upper

# Files of the host's, of all sizes: about 200 MB.
make_tarball() {
  (cd /usr/lib && find . -xdev -type f -size -20M -printf '%s %p\n' | sort -k 2) |
    awk '(total += $1) < 200000000 { sub(/^[0-9]+ /, ""); print }' |
    tar --create --file "$TARBALL" --directory /usr/lib --verbatim-files-from --files-from -
}

unpack_and_hash() {
  mkdir "$WORK/bare"
  tar --extract --file "$TARBALL" --directory "$WORK/bare" &
  sha256sum "$TARBALL" >/dev/null
  wait $!
}

skopeo_and_umoci() {
  skopeo copy --quiet --src-tls-verify=false docker://127.0.0.1:5999/big:1 "oci:$WORK/layout:1" &&
    umoci unpack --image "$WORK/layout:1" "$WORK/bundle"
}

start_registry() {
  printf '%s\n' 'version: 0.1' "storage: {filesystem: {rootdirectory: $WORK/registry}}" \
    'http: {addr: 127.0.0.1:5999}' 'log: {level: error}' >"$WORK/registry.yml"
  docker-registry serve "$WORK/registry.yml" >"$WORK/registry.log" 2>&1 &
  answers curl --silent --fail http://127.0.0.1:5999/v2/
}

forget_image() {
  quiet "$MINICT" image rm "$1"
  quiet "$MINICT" image prune
}

images_rounds=$(((ROUNDS + 2) / 3))
step "images, $images_rounds rounds"
make_tarball
fact tarball-mebibytes "$(($(stat -c %s "$TARBALL") / 1048576))"
fact tarball-files "$(tar --list --file "$TARBALL" | wc -l)"
start_registry
quiet "$MINICT" image import "$TARBALL" big
quiet "$MINICT" image push --tls-verify=false big docker://127.0.0.1:5999/big:1
forget_image big
for ((round = 1; round <= images_rounds; round++)); do
  timed images:tar unpack_and_hash
  rm -rf "$WORK/bare"
  timed images:import "$MINICT" image import "$TARBALL" big
  forget_image big
  timed images:skopeo skopeo_and_umoci
  rm -rf "$WORK/layout" "$WORK/bundle"
  timed images:pull "$MINICT" image pull --tls-verify=false docker://127.0.0.1:5999/big:1
  forget_image big:1
done

step "files of containers, $ROUNDS rounds"
quiet "$MINICT" create writer
quiet "$MINICT" stop writer
mkdir "$UPPER/files"
tar --extract --file "$TARBALL" --directory "$UPPER/files"
for ((round = 1; round <= images_rounds; round++)); do
  timed images:tar-upper tar --create --file "$WORK/upper.tar" --directory "$UPPER" .
  rm "$WORK/upper.tar"
  timed images:commit "$MINICT" commit writer committed
  forget_image committed
done
# Each takes an upper directory with all of it: a copy, with links to the files.
cp -al "$UPPER" "$WORK/full"
for ((round = 1; round <= ROUNDS; round++)); do
  timed images:snapshot "$MINICT" snapshot create writer "s$round"
  rmdir "$UPPER"
  cp -al "$WORK/full" "$UPPER"
done
for ((round = 1; round <= ROUNDS; round++)); do quiet "$MINICT" snapshot rm writer "s$round"; done
quiet "$MINICT" snapshot create writer last
for ((round = 1; round <= ROUNDS; round++)); do
  timed images:create "$MINICT" create "new$round"
  timed images:clone "$MINICT" clone writer "clone$round"
  quiet "$MINICT" rm -f "new$round" "clone$round"
  settle
done
quiet "$MINICT" rm writer

step 'disk of a hundred containers'
for ((i = 1; i <= 99; i++)); do quiet "$MINICT" create "d$i"; done
before=$(du -s --block-size=1024 "$MINICT_ROOT" | cut -f 1)
quiet "$MINICT" create d100
fact hundredth-kilobytes "$(($(du -s --block-size=1024 "$MINICT_ROOT" | cut -f 1) - before))"
quiet "$MINICT" rm -f d{1..100}
settle

if command -v podman >/dev/null; then
  step 'podman import'
  # With a program that runs in it: a static busybox.
  mkdir -p "$WORK/static/bin"
  cp "$IMAGE/bin/busybox" "$WORK/static/bin/true"
  tar --append --file "$TARBALL" --directory "$WORK/static" bin
  minict_import_run() { "$MINICT" image import "$TARBALL" big && "$MINICT" run --rm first --image big -- /bin/true; }
  podman_import_run() {
    "${PODMAN[@]}" import "$TARBALL" big:1 &&
      "${PODMAN[@]}" run --rm --network none "${ULIMITS[@]}" big:1 /bin/true
  }
  # For clean_up.
  export DAEMON=podman
  for ((round = 1; round <= 3; round++)); do
    timed images:import-run minict_import_run
    forget_image big
    timed images:podman podman_import_run
    quiet "${PODMAN[@]}" rmi -f big:1
  done
fi
