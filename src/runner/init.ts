/**
 * A container's PID 1, and its cgroup namespace, made by lists of system calls in place of nsenter, unshare, sh, mount, setsid
 * and chroot, each of which takes a millisecond to be loaded.
 */
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { assemble, type Call, errorName, readReport, report } from '../host/call-list.ts';
import { memoryFile } from '../host/lent.ts';
import { AT_EMPTY_PATH, AT_FDCWD, O_CLOEXEC, O_RDONLY_CLOEXEC, O_WRONLY_CLOEXEC } from '../host/runtime-calls.ts';
import type { Command } from '../step.ts';
import type { SpawnContext } from './spawn.ts';

type Run = Command & { readonly kind: 'run' };
type Does<What> = Extract<NonNullable<Run['does']>, { readonly what: What }>;
type StartInit = Does<'start init'>;

const F_SETFD = 2;
const FD_CLOEXEC = 1;
const F_DUPFD_CLOEXEC = 1030;
const CLONE_NEWNS = 0x20000;
const CLONE_NEWPID = 0x20000000;
const CLONE_NEWCGROUP = 0x2000000;
const MS_BIND = 0x1000;
const SIGCHLD = 17;
const ENV = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'];
/** Above those that it is given: 0 the program, 1 what is read here, 2 /dev/null, 3 and on the locks. */
export const REPORT_FD = 30;
const PROGRAM_FD = 31;

/** False where nothing has come of it. */
export async function persistCgroupns(
  { enter, path }: Does<'persist cgroupns'>,
  { lockFds }: SpawnContext,
): Promise<boolean> {
  const calls: Call[] = [
    { name: 'openat', args: [AT_FDCWD, enter, O_WRONLY_CLOEXEC, 0] },
    { name: 'write', args: [{ of: 0 }, '0', 1] },
    { name: 'unshare', args: [CLONE_NEWCGROUP] },
    { name: 'mount', args: ['/proc/self/ns/cgroup', path, '', MS_BIND, 0] },
  ];
  const count = calls.length;
  const list = [...calls.map((call) => ({ ...call, onError: count })), report(1, 0, count)];
  const child = spawnCalls(list, ['ignore', 'pipe', 'ignore', ...lockFds]);
  if (child === undefined) return false;
  const results = readReport(Buffer.from(await new Response(child.stdout).arrayBuffer()));
  await child.exited;
  return results.length === count && results.every((result) => result >= 0);
}

type Child = Bun.Subprocess<'ignore', 'pipe', 'ignore'>;

/** Undefined where this machine or kernel does not take such a program. */
export function spawnCalls(calls: readonly Call[], stdio: readonly unknown[]): Child | undefined {
  let list: number | undefined;
  try {
    list = memoryFile('minict-init', assemble(calls));
    return Bun.spawn([`/proc/${process.pid}/fd/${list}`], { stdio: stdio as never, env: {} }) as unknown as Child;
  } catch {
    return undefined;
  } finally {
    if (list !== undefined) closeSync(list);
  }
}

/** One fails, all are over. A locked file is let go of once the program runs. */
function callsOf({ mntns = '', mounts = '' }: Run, { enter, program, rootfs }: StartInit, locks: number): Call[] {
  const group = 2 + locks;
  const inside = group + 2;
  const forked = inside + 3;
  const calls: Call[] = [
    { name: 'dup3', args: [1, REPORT_FD, O_CLOEXEC] },
    { name: 'dup3', args: [2, 1, 0] },
    ...Array.from({ length: locks }, (_, i): Call => ({ name: 'fcntl', args: [3 + i, F_SETFD, FD_CLOEXEC] })),
    { name: 'openat', args: [AT_FDCWD, enter, O_WRONLY_CLOEXEC, 0] },
    { name: 'write', args: [{ of: group }, '0', 1] },
    { name: 'openat', args: [AT_FDCWD, mntns, O_RDONLY_CLOEXEC, 0] },
    { name: 'setns', args: [{ of: inside }, CLONE_NEWNS] },
    { name: 'unshare', args: [CLONE_NEWPID] },
    { name: 'clone', args: [SIGCHLD, 0, 0, 0, 0] },
    // The namespace's /proc can be mounted from its inside alone.
    { name: 'mount', args: ['proc', mounts, 'proc', 0, 0] },
    { name: 'chroot', args: [rootfs] },
    { name: 'chdir', args: ['/'] },
    { name: 'fcntl', args: [0, F_DUPFD_CLOEXEC, PROGRAM_FD] },
    { name: 'dup3', args: [2, 0, 0] },
    { name: 'setsid', args: [] },
    { name: 'execveat', args: [{ of: forked + 4 }, '', [program, '-P'], ENV, AT_EMPTY_PATH] },
  ];
  const end = calls.length;
  return [
    ...calls.map((call, index) => ({ ...call, onError: end, ...(index === forked ? { onPositive: end } : {}) })),
    report(REPORT_FD, 0, end),
  ];
}

/**
 * False where nothing has come of it: this machine or kernel does not take such a program, or refuses a call of it. Throws Error
 * where PID 1 was there, and did not become what it is to be.
 */
export async function startInit(command: Run, init: StartInit, { lockFds }: SpawnContext): Promise<boolean> {
  const calls = callsOf(command, init, lockFds.length);
  const program = openSync(init.program, 'r');
  const child = spawnCalls(calls, [program, 'pipe', 'ignore', ...lockFds]);
  closeSync(program);
  if (child === undefined) return false;
  // Its end comes when the program has begun, which leaves nothing of this open.
  const written = readReport(Buffer.from(await new Response(child.stdout).arrayBuffer()));
  const count = calls.length - 1;
  const failed = written.findIndex((result) => result < 0);
  const forked = calls.findIndex(({ name }) => name === 'clone');
  if (written.length === count && failed === -1 && isProcess(written[forked] as number)) return true;
  if (written.length === count && failed <= forked) return false;
  const cause = failed === -1 ? 'killed' : `${calls[failed % count]?.name}: ${errorName(written[failed] ?? 0)}`;
  throw new Error(`${init.program} does not run in its root: ${cause}`);
}

/** Not one that has ended, and that nobody has waited for. */
function isProcess(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) !== '';
  } catch {
    return false;
  }
}
