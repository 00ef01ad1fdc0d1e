/**
 * A program that nobody waits for: `exec -d`. It is watched until its exec is through, so that one that cannot be run is
 * told. By what /proc says: a pipe that closes on exec would close at nsenter's, another one would be the program's.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { HostError, NotFoundError } from '../errors.ts';
import { childrenOf } from './supervisor.ts';

export interface Detached {
  readonly container: string;
  /** What leads to the program, and the program as its last words. */
  readonly argv: readonly string[];
  readonly program: readonly string[];
  readonly workdir: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** What leads to it stays, as its parent; or as that one's, which is an OCI runtime's. */
  readonly waits: 'chroot' | 'oci' | undefined;
}

const POLL_MS = 1;

/** How long an OCI runtime may take to tell of a program that it could not run, from its end on. */
const TELLING_MS = 1000;

/** proc_pid_stat(5): its name, that of the last exec that worked, and its state. */
function readStat(pid: number): { comm: string; state: string } {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const end = text.lastIndexOf(')');
  return { comm: text.slice(text.indexOf('(') + 1, end), state: text.charAt(end + 2) };
}

/** Whether the process is still one of those that lead to the program. */
function isOnItsWay(pid: number, { argv, program }: Detached): boolean {
  // A waiting parent has env(1) put signals back.
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    .split('\0')
    .slice(0, -1)
    .filter((word) => !word.startsWith('--default-signal='));
  // There is none in the middle of an exec.
  if (words.length === 0) return true;
  return words.length > program.length && words.join('\0') === argv.slice(-words.length).join('\0');
}

function atPidsLimit(container: string): { hint: string } {
  return { hint: `where it is at its limit of processes: minict update ${container} --pids-limit N` };
}

function failure({ container, program, workdir }: Detached, tool: string, status: number): Error {
  const what = `cannot run ${program[0]} in ${container}`;
  if (status === 125) return new HostError(`${what}: ${tool} ended with 125`, atPidsLimit(container));
  if (status === 127) return new NotFoundError(`${what}: no such program`, { exitCode: 127 });
  if (status !== 126) return new HostError(`${what}: ${tool} ended with ${status}`);
  const cause = workdir === undefined ? 'not executable' : `not executable, or no directory ${workdir}`;
  return new HostError(`${what}: ${cause}`, { exitCode: 126 });
}

function cmdlineOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
}

/** Whether an OCI runtime has had a child, and since when it has none. */
interface Seen {
  hasForked: boolean;
  childlessSince: number | undefined;
}

/** Whether the program of a waiting parent is still to come. An end of it that is not told by 125 to 127 is its own. */
async function isToCome(child: Bun.Subprocess, detached: Detached, seen: Seen): Promise<boolean> {
  if (readStat(child.pid).state === 'Z') {
    const status = await child.exited;
    if (status >= 125 && status <= 127) throw failure(detached, 'what leads to it', status);
    return false;
  }
  try {
    const [tool] = childrenOf(child.pid);
    if (tool === undefined || detached.waits === 'chroot') return tool === undefined || isOnItsWay(tool, detached);
    const [program] = childrenOf(tool);
    if (program === undefined) {
      if (!seen.hasForked) return true;
      // One that copies output waits for whoever has it open: a daemon, of a program that is through.
      seen.childlessSince ??= performance.now();
      return performance.now() - seen.childlessSince < TELLING_MS;
    }
    seen.hasForked = true;
    seen.childlessSince = undefined;
    const [runtime, its] = [cmdlineOf(tool), cmdlineOf(program)];
    // A fork that is yet to become the program is as its parent; runc's is run anew.
    return ['', runtime, `${runtime.split('\0')[0]}\0init\0`].includes(its);
  } catch (error) {
    // It has ended in between: its parent is about to.
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return true;
    throw error;
  }
}

/** In a session of its own, from within the container's cgroup. */
function spawnLeft({ container, program, argv, env }: Detached): Bun.Subprocess {
  try {
    return Bun.spawn([...argv], { stdio: ['ignore', 'ignore', 'ignore'], env: { ...env }, detached: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    const cause = 'no process can be made there';
    throw new HostError(`cannot run ${program[0]} in ${container}: ${cause}`, atPidsLimit(container));
  }
}

/** Returns once the program has begun. Throws NotFoundError (127), HostError (126: not executable). */
export async function startDetached(detached: Detached): Promise<void> {
  const { argv, program } = detached;
  const child = spawnLeft(detached);
  const way = argv.slice(0, argv.length - program.length).map((word) => basename(word));
  const tools = ['nsenter', 'prlimit', 'chroot', 'sh', 'setpriv', 'unshare', 'env'].filter((tool) =>
    way.includes(tool),
  );
  const seen = { hasForked: false, childlessSince: undefined };
  while (detached.waits !== undefined && (await isToCome(child, detached, seen))) Bun.sleepSync(POLL_MS);
  while (detached.waits === undefined) {
    // Nothing is awaited meanwhile: so Bun does not take the process away when it has ended, and its name with it.
    const { comm, state } = readStat(child.pid);
    if (state === 'Z') {
      const status = await child.exited;
      if (tools.includes(comm) && status !== 0) throw failure(detached, comm, status);
      return;
    }
    if (!isOnItsWay(child.pid, detached)) break;
    Bun.sleepSync(POLL_MS);
  }
  child.unref();
}
