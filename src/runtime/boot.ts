/** The main command of a container that boots: systemd-nspawn, which starts the init of its image, and who persists its namespaces. */
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { enterInitGroups } from '../cgroup/init-groups.ts';
import { toolPath } from '../host/tool.ts';
import type { Run } from '../process/enter.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { ContainerPaths } from '../state/paths.ts';
import { BIND, FIND_LEADER, FORGET, namespaceFilesWord, nspawnArgv } from './nspawn.ts';

/**
 * $1: files of cgroups, $2: the program, $3: files of namespaces, then words that become the program. 133 is a reboot, which
 * with --keep-unit somebody else is to do. TERM has systemd-nspawn shut its guest down. In the background a shell's child
 * has /dev/null as its stdin, and INT and QUIT are ignored. Where somebody killed systemd-nspawn its guest goes on, and is ended.
 */
const BOOT = `
${FIND_LEADER}${BIND}${FORGET}
for group in $1; do echo 0 >"$group" || exit 125; done
end() {
  set -- $1
  while [ "/proc/$leader/ns/pid" -ef "$4" ]; do kill -s KILL "$leader"; sleep 0.01; done
}
program=$2 files=$3 leader=
shift 3
exec 3<&0 4>&2 2>/dev/null
nspawn=
trap '[ -z "$nspawn" ] || kill -s TERM "$nspawn"' HUP INT QUIT TERM
while :; do
  forget "$files"
  env --default-signal=INT,QUIT "$@" <&3 2>&4 3<&- 4>&- &
  nspawn=$!
  find_leader "$nspawn" "$program" && bind "$leader" "$files"
  while :; do
    wait "$nspawn"
    status=$?
    kill -s 0 "$nspawn" || break
  done
  end "$files"
  forget "$files"
  [ "$status" -eq 133 ] || exit "$status"
done
`;

/** `--rlimit=` has the names of getrlimit(2). */
function rlimitWords({ ulimits = {} }: ContainerSpec): string[] {
  const shown = (value: number) => (value === -1 ? 'infinity' : String(value));
  return Object.entries(ulimits).map(
    ([name, { soft, hard }]) => `--rlimit=${name.toUpperCase()}=${shown(soft)}:${shown(hard)}`,
  );
}

/** `term` where the caller's terminal is the guest's console. Throws HostError. */
export function bootProgram(spec: ContainerSpec, paths: ContainerPaths, container: string, term?: string): Run {
  const program = toolPath('systemd-nspawn');
  const enter = enterInitGroups(readCgroupHost(), container);
  const argv = nspawnArgv(spec, paths, program, [
    `--console=${term === undefined ? 'read-only' : 'interactive'}`,
    ...rlimitWords(spec),
    ...Object.entries(spec.env).map(([key, value]) => `--setenv=${key}=${value}`),
    '--boot',
    // Nobody may be there whom it could ask (systemd-firstboot(1)); in a container systemd has this from its own arguments.
    'systemd.firstboot=no',
  ]);
  const words = [enter.join(' '), program, namespaceFilesWord(paths), ...argv];
  return {
    argv: [toolPath('sh'), '-c', BOOT, 'boot', ...words],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...(term === undefined ? {} : { TERM: term }) },
  };
}
