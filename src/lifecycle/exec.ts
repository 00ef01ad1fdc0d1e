/** exec: becomes a program in a container. Loads neither zod, the planner nor execa, nor node:fs: every import is time. */
import { ConflictError, HostError, InvalidInputError } from '../errors.ts';
import { isTerminal, type Lock, restoreForExec, takeLock, writeToFile } from '../host/exec-calls.ts';
import { becomeProgram, isEntered, missingNamespace, SOFT_FILE_LIMIT } from '../process/become.ts';
import type { Detached } from '../process/detach.ts';
import { enterChroot, type Program, type Run, type Terminal } from '../process/enter.ts';
import type { User } from '../process/user.ts';
import { parseContainerName } from '../spec/name.ts';
import type { Place } from '../spec/place.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { containerPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { pausedError } from './paused.ts';

export interface ExecOptions {
  /** stdin is passed on, as it is from a terminal. */
  readonly interactive?: boolean;
  /** stdin has to be a terminal. */
  readonly tty?: boolean;
  /** Starts it and leaves it, instead of becoming it: loaded by who wants that. */
  readonly leave?: (detached: Detached) => Promise<void>;
  /** Beside, and in place of, what all programs of the container have. */
  readonly env?: Readonly<Record<string, string>>;
  /** `user[:group]`, resolved inside. */
  readonly user?: string;
  readonly workdir?: string;
}

/** A `--` may stand before it, as with create and run; what begins with a dash without one is an option in a wrong place. */
function programOf(name: string, words: readonly string[]): readonly string[] {
  const [first = ''] = words;
  if (!first.startsWith('-')) return words;
  const program = words.slice(1);
  if (first !== '--') {
    throw new InvalidInputError(
      `cannot exec in ${name}: ${JSON.stringify(first)} stands after NAME, and is no option there`,
      {
        hint: `minict exec ${first} ${name} …; for a program of that name minict exec ${name} -- ${first}`,
      },
    );
  }
  if (program.length > 0) return program;
  throw new InvalidInputError(`cannot exec in ${name}: no program is named`, { hint: `minict exec ${name} CMD` });
}

/** Does not return, unless it leaves the program. Throws InvalidInputError, NotFoundError, ConflictError (not up), HostError. */
export async function execProgram(
  { roots, verbose }: Context,
  rawName: string,
  given: readonly string[],
  options: ExecOptions,
): Promise<void> {
  const name = parseContainerName(rawName);
  const program = programOf(name, given);
  const terminal = isTerminal(0);
  if (options.tty && !terminal) {
    throw new InvalidInputError('cannot use -t: stdin is no terminal', { hint: 'leave out -t' });
  }
  // Shared until this process is in the cgroup, so that no rm can miss it; it ends with the exec.
  const paths = containerPaths(roots, name);
  const lock = lockToEnter(paths.lock);
  const record = lock && readEnterRecord(paths);
  if (record === undefined) throw (await import('./not-up.ts')).notUp(roots, name, lock);
  if (record.paused) throw pausedError('exec in', name);
  const gone = missingNamespace(record.place);
  if (gone !== undefined) {
    throw new ConflictError(`cannot exec in ${name}: its namespace ${gone} is gone`, { hint: `minict start ${name}` });
  }
  if (!isEntered(record.place)) {
    throw new ConflictError(`cannot exec in ${name}: it is not booted`, { hint: `minict start ${name}` });
  }
  const wanted = options.user ?? record.user;
  const user = wanted === undefined ? undefined : await findUser(wanted, record.place);
  const programEnv = { ...record.env, ...options.env };
  const workdir = options.workdir ?? record.workdir;
  const isLeft = options.leave !== undefined;
  const term = terminal ? process.env.TERM : undefined;
  const isOnTerminal = terminal && (!isLeft || record.place.oci === undefined);
  const words = { argv: program, env: programEnv, user, workdir };
  const { argv, env } = await wayIn(record.place, words, isOnTerminal ? { term } : undefined, isLeft);
  if (verbose) (await import('../host/verbose.ts')).sayCommand(argv);
  try {
    // No O_CREAT: where the container is stopped, its cgroup is gone.
    for (const file of record.enter) writeToFile(file, '0');
  } catch (error) {
    throw new HostError(`cannot enter the cgroup of ${name}: ${(error as Error).message}`, {
      hint: `minict start ${name}`,
    });
  }
  if (options.leave !== undefined) {
    restoreForExec(SOFT_FILE_LIMIT);
    const { oci, pidns } = record.place;
    const waits = oci !== undefined ? 'oci' : pidns === undefined ? undefined : 'chroot';
    return options.leave({ container: name, argv, program, workdir, env, waits });
  }
  becomeProgram(argv, env, options.interactive || terminal ? [] : [0], restoreForExec);
}

async function findUser(wanted: string, place: Place): Promise<User> {
  return (await import('./user-inside.ts')).userInside(wanted, place);
}

/** Where it is not left, a program that this process waits for ends with it. */
async function wayIn(place: Place, program: Program, terminal: Terminal | undefined, isLeft: boolean): Promise<Run> {
  if (place.pidns === undefined) return enterChroot(place, program, terminal);
  const { runIn } = await import('../process/run-in.ts');
  const run = runIn(place, program, terminal);
  return isLeft ? run : { ...run, argv: (await import('../process/waiter.ts')).bound(run.argv) };
}

/** Undefined where there is no run dir: since the last boot no container was up. */
function lockToEnter(path: string): Lock | undefined {
  try {
    return takeLock(path, 'shared');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
