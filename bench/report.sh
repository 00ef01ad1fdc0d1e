#!/bin/bash
# WORK/times and WORK/facts → a Markdown report on stdout. Usage: report.sh WORK COMMAND DATE
# shellcheck disable=SC2016 # backquotes are Markdown here
set -euo pipefail
export LC_ALL=C

WORK=$1

fact() { awk -F '\t' -v key="$1" '$1 == key { print $2 }' "$WORK/facts"; }

# median PATTERN: of all samples whose label matches the whole extended pattern, in ms; nothing where there is none.
median() {
  awk -F '\t' -v pattern="^($1)\$" '$1 ~ pattern { print $2 }' "$WORK/times" | sort -n |
    awk '{ v[NR] = $1 } END { if (NR) printf "%.2f", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2000 }'
}

measured() { [ -n "$(median "$1")" ]; }

# verdict VALUE LIMIT
verdict() { awk -v value="$1" -v limit="$2" 'BEGIN { print (value + 0 <= limit + 0) ? "pass" : "MISS" }'; }

# row WHAT OURS BESIDE-WHAT BESIDE LIMIT: labels in ms, the limit a ratio, or - for none.
row() {
  if ! measured "$2" || ! measured "$4"; then return 0; fi
  compared "$@" "$(awk -v a="$(median "$2")" -v b="$(median "$4")" 'BEGIN { print a / b }')"
}

# turns WHAT OURS BESIDE-WHAT BESIDE LIMIT: as row, of two that take turns; the ratio is the median of the rounds' ratios.
turns() {
  compared "$@" "$(awk -F '\t' -v ours="$2" -v beside="$4" '
    $1 == ours { a[++m] = $2 }
    $1 == beside { b[++n] = $2 }
    END { for (i = 1; i <= m; i++) print a[i] / b[i] }' "$WORK/times" | sort -g |
    awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }')"
}

# compared WHAT OURS BESIDE-WHAT BESIDE LIMIT RATIO
compared() {
  local ours beside ratio limit='' result=''
  ours=$(median "$2")
  beside=$(median "$4")
  ratio=$(printf '%.3g' "$6")
  if [ "$5" != - ]; then
    limit="≤ $5 ×"
    result=$(verdict "$6" "$5")
  fi
  printf '| %s | %s | %s | %s | **%s ×** | %s | %s |\n' "$1" "$ours" "$3" "$beside" "$ratio" "$limit" "$result"
}

sum() { awk -v a="$(median "$1")" -v b="$(median "$2")" 'BEGIN { printf "%.2f", a + b }'; }

mebibytes=$(awk -v bytes="$(fact size)" 'BEGIN { printf "%.1f", bytes / 1048576 }')
version_ms=$(median minict:version)
exec_ms=$(median minict:exec)
bare_ms=$(median bare:exec)
exec_extra=$(awk -v a="$exec_ms" -v b="$bare_ms" 'BEGIN { printf "%.2f", a - b }')
exec_ratio=$(awk -v a="$exec_ms" -v b="$bare_ms" 'BEGIN { printf "%.3g", a / b }')
idle=$(fact idle-processes)
left_out=$(fact left-out)

cat <<X
# Benchmarks

Made by \`$2\` (\`bench/run.sh\` writes this file anew). Figures are medians in milliseconds, of $(fact rounds) rounds in which
all peers take turns. Machines differ and are noisy: only the **ratios** of one run say something, the times promise nothing.

- Machine: Linux $(uname -r), $(nproc) cores, $(uname -m), $3. minict $(fact version), crun $(fact crun).
- Everything runs in a throwaway host (\`unshare --mount --net\`, a private \`/run\`), on all CPUs.
- Root file system: for all the tree of minict's \`base\` image, in an overlay (the script binds it, as it is).
- "script": \`bench/seed-create.sh\`, the host's commands one by one, and \`bench/seed-rm.sh\`. "crun": an overlay, a network
  namespace and \`ip -batch\` around it, and its create has a \`sleep\` started, while minict's starts no process.
- Left out:${left_out:- nothing}.

| what | minict | beside | its time | ratio | limit | |
|---|---:|---|---:|---:|---:|---|
| \`--version\` | $version_ms | | | | ≤ 10 ms | $(verdict "$version_ms" 10) |
| \`exec NAME /bin/true\` | $exec_ms | nsenter (net, uts), chroot | $bare_ms | **$exec_ratio ×** | ≤ + 6 ms (+ $exec_extra) | $(verdict "$exec_extra" 6) |
X
row "the same" minict:exec 'nsenter (mount, net, uts), chroot' bare-mount:exec -
row "the same" minict:exec 'an empty program of the runtime that becomes /bin/true' runtime:exec -
row "the same" beside-docker:exec docker docker:exec 0.2
row "the same" beside-podman:exec podman podman:exec 0.1
row "\`create\`" minict:create script seed:create 0.35
row "\`create\`" minict:create crun crun:create 0.8
row "\`rm -f\`, one process in it" minict:rm crun crun:rm 1
row "\`rm -f\`, one process in it" minict:rm 'script, no process' seed:rm -
row "\`run --rm X -- true\`" minict:run crun crun:run 1
row "\`run --rm X -- true\`" beside-podman:run podman podman:run 0.1
row "\`run --rm X -- true\`" beside-docker:run docker docker:run 0.1

if measured hundred:all; then
  # Sums of two medians get labels of their own.
  {
    printf 'sum:minict\t%s\n' "$(awk -v ms="$(sum hundred:all hundred:rm-at-once)" 'BEGIN { printf "%d", ms * 1000 }')"
    printf 'sum:seed\t%s\n' "$(awk -v ms="$(sum seed:hundred-create seed:hundred-rm)" 'BEGIN { printf "%d", ms * 1000 }')"
  } >>"$WORK/times"
  row '100 × `create`, one `rm -f` of all' sum:minict script sum:seed 0.5
  row '— of it the creates' hundred:all script seed:hundred-create -
  row '— of it the `rm -f`' hundred:rm-at-once script seed:hundred-rm -
  row '`create` 91–100 of 100' '(hundred|again):(9[1-9]|100)' '`create` 6–15' '(hundred|again):([6-9]|1[0-5])' 1.15
  row 'the same with 300 more there' 'crowded:(9[1-9]|100)' '`create` 6–15' 'crowded:([6-9]|1[0-5])' 1.15
  row '`create` with 300 to 400 there' 'crowded:[0-9]+' '`create` 6–15 of 100' '(hundred|again):([6-9]|1[0-5])' -
  row '`rm -f` of 100 at once' hundred:rm-at-once '100 × `rm -f`' hundred:rm-singly 0.3
else
  printf '\nThe rows with hundreds of containers were left out (BENCH_SCALE=0).\n'
fi
if measured processes:run; then
  cat <<X

Processes: \`crun run\` is of the very bundle that minict made, in its namespaces. Of a hundred containers, each has one program
that sleeps; memory and wake-ups (within 5 s) are those of the $(fact supervisors) processes beside them: who waits, and who writes the log.

| what | minict | beside | its figure | ratio | limit | |
|---|---:|---|---:|---:|---:|---|
X
  extra=$(median processes:init-extra)
  printf '| `run --rm --init X -- true` | %s | without `--init` | %s | | ≤ + 4 ms (%+.2f) | %s |\n' \
    "$(median processes:run-init)" "$(median processes:run)" "$extra" "$(verdict "$extra" 4)"
  bare=$(median processes:bare-crun)
  most=$(awk -v ms="$bare" 'BEGIN { printf "%.2f", ms * 1.5 + 10 }')
  ours=$(median processes:run-crun)
  printf '| `run --rm --runtime crun X -- true` | %s | `crun run` | %s | | ≤ 1.5 × + 10 ms (%s) | %s |\n' \
    "$ours" "$bare" "$most" "$(verdict "$ours" "$most")"
  extra=$(median processes:crun-extra)
  printf '| — what the runtime adds to `run --rm` | %s | `crun run` | %s | | ≤ 1.5 × + 10 ms (%s) | %s |\n' \
    "$extra" "$bare" "$most" "$(verdict "$extra" "$most")"
  printf '| the same with `--profile hardened` | %s | `crun run` | %s | | | |\n' "$(median processes:run-hardened)" "$bare"
  row '`run --rm --runtime crun X -- true`' beside-podman:run-crun podman podman:run 0.25
  stats=$(median processes:stats)
  printf '| `stats --no-stream`, 100 containers | %s | | | | ≤ 50 ms | %s |\n' "$stats" "$(verdict "$stats" 50)"
  stop=$(median processes:stop)
  printf '| `stop` of 100 that obey TERM | %s | | | | ≤ 1000 ms | %s |\n' "$stop" "$(verdict "$stop" 1000)"
  megabytes=$(fact pss-megabytes)
  printf '| memory (PSS) beside 100 idle programs | %s MB | | | | ≤ 150 MB | %s |\n' "$megabytes" "$(verdict "$megabytes" 150)"
  wakes=$(fact wakes)
  printf '| wake-ups beside them | %s | | | | 0 | %s |\n' "$wakes" "$(verdict "$wakes" 0)"
fi
if measured networks:connect; then
  cat <<X

Networks: interfaces in one container, in two networks; TCP (Gbit/s) and round trips (µs) from container to container, beside
two namespaces wired by hand, in turns, both ends on one CPU: their ratio is the median of the rounds' ratios.

| what | minict | beside | its figure | ratio | limit | |
|---|---:|---|---:|---:|---:|---|
X
  connect_ms=$(median networks:connect)
  printf '| `network connect` | %s | | | | ≤ 15 ms | %s |\n' "$connect_ms" "$(verdict "$connect_ms" 15)"
  row '`create` with 20 interfaces' networks:twenty 'with one' networks:one 3
  row '`create` with 1,000 interfaces' networks:thousand 'one `ip -batch` on the host, one inside' networks:bare 1.5
  turns 'TCP, by hand / minict' networks:bare-stream minict networks:stream 1.03
  turns 'TCP round trip' networks:tcp_lat 'by hand' networks:bare-tcp_lat 1.03
  turns 'UDP round trip' networks:udp_lat 'by hand' networks:bare-udp_lat 1.03
fi
if measured images:import; then
  cat <<X

Images and files: a tarball of $(fact tarball-mebibytes) MiB and $(fact tarball-files) files; the upper directory is unpacked from it.

| what | minict | beside | its time | ratio | limit | |
|---|---:|---|---:|---:|---:|---|
X
  row '`image import`' images:import '`tar -x` beside `sha256sum`' images:tar 1.2
  row '`image import`, and a first `run --rm`' images:import-run 'podman' images:podman 0.5
  row '`image pull` from a registry on loopback' images:pull '`skopeo copy`, `umoci unpack`' images:skopeo 1
  row '`commit`' images:commit '`tar -c` of the upper directory' images:tar-upper 1.2
  row '`clone` of a stopped container' images:clone '`create`' images:create 1.5
  snapshot=$(median images:snapshot)
  printf '| `snapshot create`, stopped | %s | | | | ≤ 20 ms | %s |\n' "$snapshot" "$(verdict "$snapshot" 20)"
  kilobytes=$(fact hundredth-kilobytes)
  printf '| disk for the 100th container | %s kB | | | | < 64 kB | %s |\n' "$kilobytes" "$(verdict "$kilobytes" 63.9)"
fi
cat <<X

| | | limit | |
|---|---:|---:|---|
| processes for each idle container | $idle | 0 | $(verdict "$idle" 0) |
| size of the executable | $mebibytes MiB | | |
X
