/** Namespaces beside those that every container has: PID, IPC and cgroup, persisted as files like the others. Pure. */
import type { CgroupPaths } from '../cgroup/cgroup.ts';
import { makeOwnedNamespace } from '../host/user-namespace.ts';
import { type ContainerSpec, isIsolated } from '../spec/container.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Command, Step } from '../step.ts';

/** A namespace is bound onto a file; made exclusively, so that another's of that name is never taken. */
export function nsFile(id: string, chain: string | undefined, path: string, why: string): Step {
  return {
    id: `${id} file`,
    why,
    ...(chain === undefined ? {} : { chain }),
    run: { kind: 'write', path, content: '', exclusive: true },
    undo: { kind: 'unlink', path },
    claims: [{ kind: 'file', name: path }],
  };
}

type Run = Command & { readonly kind: 'run' };

function persisted(id: string, chain: string, path: string, why: string, run: Omit<Run, 'kind'>): Step[] {
  return [
    nsFile(id, chain, path, `file that will hold the ${why}`),
    {
      id,
      why: `a ${why}, persisted as a file`,
      chain,
      run: { kind: 'run', ...run },
      undo: { kind: 'umount', targets: [path], lazy: true },
      claims: [{ kind: 'nsfile', name: path }],
    },
  ];
}

/** $0: the file. Its clocks begin with it: those that count from boot. */
const TIMENS = `
read -r up idle </proc/uptime
exec unshare --time="$0" --monotonic "-\${up%.*}" --boottime "-\${up%.*}" true
`;

/** Those that a process leaves behind. */
export function planIsolation(spec: ContainerSpec, paths: ContainerPaths, chain: string): Step[] {
  return [
    ...(isIsolated(spec, 'ipc')
      ? persisted('ipcns', chain, paths.ipcns, 'IPC namespace', { argv: ipcOf(spec, paths) })
      : []),
    ...(isIsolated(spec, 'timens')
      ? persisted('timens', chain, paths.timens, 'time namespace', { argv: ['sh', '-c', TIMENS, paths.timens] })
      : []),
  ];
}

/** Once the cgroups are there: the root that it shows is its maker's group. */
export function planCgroupns(spec: ContainerSpec, paths: ContainerPaths, cgroup: CgroupPaths, chain: string): Step[] {
  if (!isIsolated(spec, 'cgroupns')) return [];
  const inGroup = 'echo 0 >"$0" && exec unshare "--cgroup=$1" true';
  return persisted('cgroupns', chain, paths.cgroupns, 'cgroup namespace', {
    argv: ['sh', '-c', inGroup, cgroup.enterPayload, paths.cgroupns],
    does: { what: 'persist cgroupns', enter: cgroup.enterPayload, path: paths.cgroupns },
  });
}

function ipcOf({ userns }: ContainerSpec, paths: ContainerPaths): string[] {
  if (userns !== undefined) return makeOwnedNamespace(paths.userns, 'ipc', paths.ipcns);
  return ['unshare', `--ipc=${paths.ipcns}`, 'true'];
}

/** $0: processes of the init group. NSpid of proc_pid_status(5) tells PID 1 from who started it, and may be there for a while yet. */
const PERSIST_PIDNS = `
init=
while read -r pid; do
  while read -r key numbers; do
    [ "$key" != NSpid: ] || [ "\${numbers##*[!0-9]}" != 1 ] || init=$pid
  done 2>/dev/null <"/proc/$pid/status"
done <"$0"
exec mount --bind "/proc/$init/ns/pid" "$1"
`;

const KILL_INIT = `
tries=1000
while read -r pid <"$0/cgroup.procs" && [ "$tries" -gt 0 ]; do
  [ "$pid" = 0 ] || kill -s KILL "$pid" 2>/dev/null
  sleep 0.01; tries=$((tries - 1))
done
`;

/** Of an init group. */
export function killInit(cgroup: CgroupPaths): Command {
  return { kind: 'run', argv: ['sh', '-c', KILL_INIT, cgroup.init], does: { what: 'end group', group: cgroup.init } };
}

export function persistPidns(paths: ContainerPaths, cgroup: CgroupPaths, chain: string): Step[] {
  return persisted('pidns', chain, paths.pidns, 'PID namespace', {
    argv: ['sh', '-c', PERSIST_PIDNS, `${cgroup.init}/cgroup.procs`, paths.pidns],
    does: { what: 'persist pidns', init: cgroup.init, path: paths.pidns },
  });
}
