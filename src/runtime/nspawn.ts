/**
 * The runtime `nspawn`: systemd-nspawn(1) puts mounts of its own over a container's root, and starts PID 1 there, in namespaces
 * of its own but minict's for the network. Persisted as files, they are what programs enter.
 */
import { join } from 'node:path';
import { type CgroupHost, readCgroupHost } from '../cgroup/cgroup.ts';
import { enterInitGroups, planInitGroups, requireInitHosts } from '../cgroup/init-groups.ts';
import { InvalidInputError } from '../errors.ts';
import { requireTool, toolPath } from '../host/tool.ts';
import { type ContainerSpec, rootfsOf } from '../spec/container.ts';
import { isWithin } from '../spec/root-paths.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Command, Step } from '../step.ts';
import { nsFile } from './namespaces.ts';
import type { Runtime, RuntimeFacts } from './runtime.ts';

/** Throws HostError where it is not installed, InvalidInputError. */
export function loadNspawn(spec: ContainerSpec): Runtime {
  refuseHidden(spec);
  const program = toolPath('systemd-nspawn');
  for (const tool of ['env', 'find', 'setpriv', 'setsid', 'sleep']) requireTool(tool);
  const tracking = readCgroupHost();
  requireInitHosts(tracking);
  return {
    makesNamespaces: true,
    planInit: (container, paths, facts, chain) => planInit(container, paths, facts, { program, tracking, chain }),
  };
}

/** systemd-nspawn mounts a tmpfs there. Throws InvalidInputError. */
export function refuseHidden({ volumes = [] }: Pick<ContainerSpec, 'volumes'>): void {
  const hidden = volumes.find(({ target }) => ['/run', '/var/run'].some((dir) => isWithin(target, dir)));
  if (hidden === undefined) return;
  throw new InvalidInputError(`cannot mount at ${hidden.target} with the runtime nspawn: it has a /run of its own`, {
    hint: 'name another place',
  });
}

/** Persisted namespaces, by their names in /proc/PID/ns. */
function namespaces(paths: ContainerPaths): readonly (readonly [name: string, path: string, what: string])[] {
  return [
    ['mnt', paths.guestMntns, 'mount namespace'],
    ['uts', paths.utsns, 'UTS namespace'],
    ['ipc', paths.ipcns, 'IPC namespace'],
    ['pid', paths.pidns, 'PID namespace'],
    ['cgroup', paths.cgroupns, 'cgroup namespace'],
  ];
}

export function guestFiles(paths: ContainerPaths): string[] {
  return namespaces(paths).map(([, path]) => path);
}

/** As one word: none has white space in it. */
export function namespaceFilesWord(paths: ContainerPaths): string {
  return guestFiles(paths).join(' ');
}

/**
 * Sets $leader to the PID 1 of the systemd-nspawn $1, of program $2, once that has become its init; fails where that has ended
 * before, or takes half a minute. It is the child that has two numbers, 1 in a PID namespace below (NSpid of proc_pid_status(5)).
 */
export const FIND_LEADER = `
find_leader() {
  leader= tries=3000
  while [ -z "$leader" ]; do
    [ -e "/proc/$1/exe" ] && [ "$tries" -gt 0 ] || return 1
    tries=$((tries - 1))
    children=
    read -r children <"/proc/$1/task/$1/children" || :
    for child in $children; do
      while read -r key _ number more; do
        [ "$key $number $more" != "NSpid: 1 " ] || leader=$child
      done <"/proc/$child/status" || :
    done
    [ -e "/proc/$leader/exe" ] && [ ! "/proc/$leader/exe" -ef "$2" ] || leader=
    [ -n "$leader" ] || sleep 0.01
  done 2>/dev/null
}
`;

/** Those of the process $1, onto the files $2. */
export const BIND = `
bind() {
  process=$1
  set -- $2
  for name in mnt uts ipc pid cgroup; do
    mount --bind "/proc/$process/ns/$name" "$1" || return 1
    shift
  done
}
`;

export const FORGET = `
forget() {
  for file in $1; do umount -l "$file" 2>/dev/null || :; done
}
`;

/** What it would leave in /run, where it is killed, is gone with its mount namespace. */
const SETUP = `
mkdir -p /run/systemd/nspawn && mount -t tmpfs tmpfs /run/systemd/nspawn && exec "$0" "$@"
`;

/**
 * Words that lead to systemd-nspawn, and its own; who runs them becomes it. It shows its guest v2's groups, wherever it is
 * itself: those of v1 newer ones refuse. No settings file beside the root counts.
 */
export function nspawnArgv(
  spec: ContainerSpec,
  paths: ContainerPaths,
  program: string,
  own: readonly string[],
): string[] {
  const settings = ['UNIFIED_HIERARCHY=1', 'LOCK=0', 'TMPFS_TMP=0'];
  return [
    ...['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', ...settings.map((word) => `SYSTEMD_NSPAWN_${word}`)],
    ...['nsenter', `--mount=${paths.mntns}`, `--net=${paths.netns}`, 'unshare', '--mount'],
    ...['sh', '-c', SETUP, program, '--quiet', '--settings=no', '--register=no', '--keep-unit', '--machine=minict'],
    ...['--network-namespace-path=/proc/self/ns/net', '--capability=CAP_NET_ADMIN'],
    ...['--resolv-conf=off', '--timezone=off', '--link-journal=no'],
    ...[`--hostname=${spec.hostname}`, `--directory=${rootfsOf(spec, paths.rootfs)}`],
    ...own,
  ];
}

/**
 * $1: files of cgroups, $2: the program, $3: a folder, then words that become it. $3/leader is written once there is one. What
 * it says counts where there is none.
 */
const START = `
${FIND_LEADER}
for group in $1; do echo 0 >"$group" || exit 1; done
nspawn=$2 dir=$3
shift 3
setsid "$@" </dev/null >"$dir/log" 2>&1 3>&- 4>&- 5>&- 6>&- &
find_leader "$!" "$nspawn" || { kill -s KILL "$!" 2>/dev/null; wait "$!"; cat "$dir/log" >&2; exit 1; }
echo "$leader" >"$dir/leader"
`;

const PERSIST = `
${BIND}
read -r leader <"$0/leader" && bind "$leader" "$1"
`;

const FORGET_ALL = `
${FORGET}
forget "$0"
`;

/** Of a group, and those below it. */
const KILL = `
pids() { find "$0" -name cgroup.procs -exec cat {} + 2>/dev/null; }
tries=1000
while pids=$(pids) && [ -n "$pids" ] && [ "$tries" -gt 0 ]; do
  for pid in $pids; do kill -s KILL "$pid"; done 2>/dev/null
  sleep 0.01; tries=$((tries - 1))
done
find "$0" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null || :
`;

/** Where it is seen inside: in /dev, which is a tmpfs, so that no image needs it. */
const INIT = '/dev/init';

interface Made {
  readonly program: string;
  readonly tracking: CgroupHost;
  readonly chain: string;
}

/** What boots is its main command; until then there are the files alone. */
function planInit(spec: ContainerSpec, paths: ContainerPaths, facts: RuntimeFacts, made: Made): Step[] {
  const { chain, tracking } = made;
  const files = namespaces(paths).map(([name, path, what]) =>
    nsFile(`guest ${name}`, chain, path, `file that will hold the ${what} of its PID 1`),
  );
  const before = [...planInitGroups(tracking, facts.cgroup.container, chain), ...files];
  return spec.boot ? [...before, planForgetting(paths, chain)] : [...before, ...planReaper(spec, paths, facts, made)];
}

/** A guest that is killed leaves its namespaces' files. */
function planForgetting(paths: ContainerPaths, chain: string): Step {
  const forget: Command = { kind: 'run', argv: ['sh', '-c', FORGET_ALL, namespaceFilesWord(paths)] };
  return { id: 'guest', why: 'nothing of an earlier one', chain, run: forget, undo: forget, leaves: true };
}

/** By systemd-nspawn, which waits for it, in the same group. */
function planReaper(spec: ContainerSpec, paths: ContainerPaths, facts: RuntimeFacts, made: Made): Step[] {
  const { program, tracking, chain } = made;
  const { cgroup, init } = facts;
  const enter = [cgroup.enterInit, ...enterInitGroups(tracking, cgroup.container)];
  const argv = nspawnArgv(spec, paths, program, ['--console=pipe', `--bind-ro=${init}:${INIT}`, '--', INIT, '-P']);
  const persisted = namespaces(paths);
  return [
    {
      id: 'nspawn folder',
      why: 'what is known of it',
      chain,
      run: { kind: 'mkdir', path: paths.nspawn, mode: 0o700, parents: true },
    },
    {
      id: 'init',
      why: 'PID 1, by systemd-nspawn',
      chain,
      after: ['netns'],
      run: { kind: 'run', argv: ['sh', '-c', START, 'start', enter.join(' '), program, paths.nspawn, ...argv] },
      undo: { kind: 'run', argv: ['sh', '-c', KILL, cgroup.init] },
      // Under v2 systemd-nspawn makes a group for it, below its own.
      claims: [{ kind: 'init', name: tracking.version === 2 ? join(cgroup.init, 'payload') : cgroup.init }],
      leaves: true,
    },
    {
      id: 'guest',
      why: 'its namespaces, persisted as files',
      chain,
      run: { kind: 'run', argv: ['sh', '-c', PERSIST, paths.nspawn, namespaceFilesWord(paths)] },
      undo: { kind: 'umount', targets: persisted.map(([, path]) => path), lazy: true },
      claims: persisted.map(([, path]) => ({ kind: 'nsfile', name: path })),
    },
  ];
}
