/**
 * check --escape: tries the ways out of a container that is up, from its inside, by the way that `exec` takes, as root, and
 * those that lead through minict itself from outside.
 */
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, firstLine, HostError } from '../errors.ts';
import { assemble, type Call, errorName, RESULT_BYTES, readReport, report } from '../host/call-list.ts';
import { readMountPoints } from '../host/facts.ts';
import { memoryFile, openOutput, openTerminal } from '../host/lent.ts';
import { toolPath } from '../host/tool.ts';
import { sayCommand } from '../host/verbose.ts';
import { isEntered, missingNamespace } from '../process/become.ts';
import { type Attempt, type Bait, CAPABILITIES, type Trial, WAYS, type Way } from '../process/escapes.ts';
import { inCgroup } from '../process/in-cgroup.ts';
import { runIn } from '../process/run-in.ts';
import { bound } from '../process/waiter.ts';
import { OCI_RUNTIMES } from '../spec/oci-runtime.ts';
import { type EnterRecord, readEnterRecord } from '../state/enter-record.ts';
import { lockContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import { tryOutside } from './check-outside.ts';
import type { Context } from './context.ts';
import { pausedError } from './paused.ts';

/** What became of a way out. */
export interface Tried {
  readonly way: string;
  readonly result: 'open' | 'stopped';
  /** What works, or what stops it. */
  readonly why: string;
}

/** Runs system calls inside. Throws HostError where that cannot be done. */
export type RunCalls = (calls: readonly Call[], options?: { terminal?: boolean; workdir?: string }) => Promise<Ran>;

export interface Ran {
  readonly status: number;
  readonly signal: string | number | undefined;
  /** As far as they came. */
  readonly results: readonly number[];
  readonly stderr: string;
}

/** Throws NotFoundError, ConflictError (not up), HostError (a probe does not run in there, so nothing can be said). */
export async function checkEscapes(context: Context, name: string): Promise<Tried[]> {
  const spec = await getContainer(context.roots, name);
  const paths = containerPaths(context.roots, name);
  // Nobody takes it down meanwhile.
  const lock = lockContainer(context.roots, name, 'shared');
  try {
    const record = requireUp(name, readEnterRecord(paths));
    const folder = mkdtempSync(join(paths.runDir, 'check-'));
    // It ends with this process.
    const other = Bun.spawn([toolPath('cat')], { stdio: ['pipe', 'ignore', 'ignore'] });
    try {
      const mark = join(folder, 'mark');
      writeFileSync(mark, '');
      const unique = `.minict-check-${crypto.randomUUID()}`;
      const bait = { mark, pid: other.pid, disk: findDisk(), hierarchy: findHierarchy(), name: unique };
      const run = runner(context, record, lock.fd);
      const tried: Tried[] = [];
      for (const way of WAYS) tried.push(await tryWay(name, way, bait, run));
      return [...tried, ...(await tryOutside(context, spec, record.place, bait, run))];
    } finally {
      other.kill();
      rmSync(folder, { recursive: true });
    }
  } finally {
    lock.release();
  }
}

function requireUp(name: string, record: EnterRecord | undefined): EnterRecord {
  if (record?.paused) throw pausedError('check', name);
  const runtime = record?.place.oci?.runtime;
  if (runtime !== undefined && OCI_RUNTIMES[runtime].copiesStdio) {
    throw new ConflictError(`cannot check ${name}: ${runtime} gives a program no file as its stdin`, {
      hint: 'recreate it with --runtime crun, which has the same walls',
    });
  }
  const gone = record && missingNamespace(record.place);
  if (record !== undefined && gone === undefined && isEntered(record.place)) return record;
  const isStopped = record === undefined ? 'it is stopped' : 'it is not booted';
  const why = gone === undefined ? isStopped : `its ${gone} is gone`;
  throw new ConflictError(`cannot check ${name}: ${why}`, {
    hint: `minict start ${name}`,
  });
}

const ENDS_WITHIN_MS = 10_000;
const COMPLAINT_BYTES = 4096;

function runner({ verbose }: Context, { place, enter }: EnterRecord, lockFd: number): RunCalls {
  return async (calls, { terminal = false, workdir } = {}) => {
    // As stdin it gets in by any way, and has a path there that nothing inside could be put in the place of.
    const program = memoryFile('minict-check', assemble(reported(calls)));
    const lent = terminal ? openTerminal() : undefined;
    const [output, complaints] = [openOutput('minict-results'), openOutput('minict-complaints')];
    try {
      const inside = runIn(place, { argv: ['/proc/self/fd/0'], env: {}, workdir });
      // What is given up ends, where somebody waits for it.
      const ends = place.pidns === undefined ? inside.argv : bound(inside.argv);
      const run = inCgroup(enter, { ...inside, argv: ends }, 'exec <&4 4<&-');
      const argv = lent === undefined ? [...run.argv] : [toolPath('setsid'), '--ctty', ...run.argv];
      if (verbose) sayCommand(argv);
      const child = Bun.spawn(argv, {
        stdio: [
          lent?.terminal ?? 'ignore',
          output.descriptor,
          lent?.terminal ?? complaints.descriptor,
          lockFd,
          program,
        ],
        env: { ...run.env },
        timeout: ENDS_WITHIN_MS,
        killSignal: 'SIGKILL',
      });
      const status = await child.exited;
      const results = readReport(output.read(calls.length * RESULT_BYTES));
      const stderr = complaints.read(COMPLAINT_BYTES).toString();
      return { status, signal: child.signalCode ?? undefined, results, stderr };
    } finally {
      lent?.close();
      output.close();
      complaints.close();
      closeSync(program);
    }
  };
}

/** Each tells its result at once, so that what a filter ends it for is known. */
function reported(calls: readonly Call[]): Call[] {
  return calls.flatMap((call, index) => {
    const args = call.args.map((arg) => (isResult(arg) ? { of: arg.of * 2 } : arg));
    return [{ ...call, args }, report(1, index * 2, 1)];
  });
}

function isResult(arg: Call['args'][number]): arg is { readonly of: number } {
  return typeof arg === 'object' && 'of' in arg;
}

const PR_CAPBSET_READ = 23;
const PR_GET_SECCOMP = 21;
const FILTERS = 2;

/** What is asked first: whether a capability may be had, and whether a filter is there. Root has all that it may have. */
function questions({ capability }: Way): Call[] {
  const bit = CAPABILITIES[capability ?? 'SYS_ADMIN'];
  return [
    { name: 'prctl', args: [PR_CAPBSET_READ, bit] },
    { name: 'prctl', args: [PR_GET_SECCOMP] },
  ];
}

async function tryWay(container: string, way: Way, bait: Bait, run: RunCalls): Promise<Tried> {
  const attempts = way.attempts(bait);
  let best: { index: number; why: string } = { index: -1, why: way.none ?? '' };
  for (const attempt of attempts) {
    const asked = questions(way);
    const calls = attempt.calls.map(({ name, args }) => ({
      name,
      args: args.map((arg) => shifted(arg, asked.length)),
    }));
    const ran = await run([...asked, ...calls], { terminal: way.terminal ?? false });
    if (ran.results.length === 0) {
      throw new HostError(
        `cannot check ${container}: a program of minict's does not run in there: ${firstLine(ran.stderr) || `it ended with ${ran.signal ?? ran.status}`}`,
      );
    }
    const failed = firstFailure(attempt, ran.results.slice(asked.length));
    if (failed === undefined) return { way: way.name, result: 'open', why: attempt.how };
    // What came furthest says most.
    if (failed.index > best.index) best = { index: failed.index, why: reason(way, failed, ran) };
  }
  return { way: way.name, result: 'stopped', why: best.why };
}

function shifted(arg: Call['args'][number], by: number): Call['args'][number] {
  return isResult(arg) ? { of: arg.of + by } : arg;
}

interface Failure {
  readonly index: number;
  readonly call: Trial;
  /** Undefined where it never came back. */
  readonly code: string | undefined;
}

function firstFailure({ calls }: Attempt, results: readonly number[]): Failure | undefined {
  for (const [index, call] of calls.entries()) {
    const result = results[index];
    const code = result === undefined ? undefined : errorName(result);
    if (call.tidies || (result !== undefined && (result >= 0 || code === call.passes))) continue;
    return { index, call, code };
  }
  return undefined;
}

function reason({ capability, means = {} }: Way, { call, code }: Failure, { results, signal }: Ran): string {
  const [held, seccomp] = results;
  if (code === undefined) return `${call.name}: ended by ${signal ?? 'a signal'}`;
  const isMissing = held === 0 && (code === 'EPERM' || code === 'EACCES');
  const isFiltered = seccomp === FILTERS && (code === 'EPERM' || code === 'ENOSYS');
  const filter = isFiltered ? 'its seccomp filter' : (means[code] ?? '');
  const cause = capability !== undefined && isMissing ? `no CAP_${capability}` : filter;
  return cause === '' ? `${call.name}: ${code}` : `${call.name}: ${code} (${cause})`;
}

/** One that the host's root can read; of those, one that has something in it. */
function findDisk(): Bait['disk'] {
  const disks = readdirSync('/sys/block').flatMap((name) => {
    const path = `/dev/${name.replaceAll('!', '/')}`;
    const [major = 0, minor = 0] = readFileSync(`/sys/block/${name}/dev`, 'utf8').split(':').map(Number);
    try {
      const fd = openSync(path, 'r');
      const size = readSync(fd, Buffer.alloc(1));
      closeSync(fd);
      return [{ path, size, device: (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12) }];
    } catch {
      return [];
    }
  });
  return disks.find(({ size }) => size > 0) ?? disks[0];
}

/** proc_pid_cgroup(5): `number:controllers:path`. Where it is is by its controllers' names. */
function findHierarchy(): Bait['hierarchy'] {
  const targets = readMountPoints().map(({ target }) => target);
  for (const line of readFileSync('/proc/self/cgroup', 'utf8').split('\n')) {
    const controllers = line.split(':')[1]?.split(',') ?? [];
    const path = targets.find((target) => target === `/sys/fs/cgroup/${controllers.join(',')}`);
    if (controllers[0] !== undefined && controllers[0] !== '' && path !== undefined) return { controllers, path };
  }
  return undefined;
}
