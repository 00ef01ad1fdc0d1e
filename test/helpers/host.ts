/**
 * A throwaway host: its own mount and network namespaces, a private /run, a state folder of its own. Nothing on the
 * machine is touched, and test files run side by side. One CPU for each: mount-namespace ids are handed out per CPU, and
 * in a nested namespace `unshare --mount=FILE` fails by chance where they come out of order.
 */
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmdirSync, rmSync } from 'node:fs';
import { availableParallelism, constants, tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { type Snapshot, takeSnapshot } from './snapshot.ts';

/** Absolute, so that a test's own PATH is for minict alone. */
const NSENTER = Bun.which('nsenter') as string;

/** Test files that run side by side take different CPUs: the file's thread, and what it starts. */
const CPU = String(Number(process.env.VITEST_POOL_ID ?? 0) % availableParallelism());
const THREAD = basename(readlinkSync('/proc/thread-self'));
if (!Bun.spawnSync(['taskset', '-pc', CPU, THREAD]).success) throw new Error(`no thread ${THREAD} on CPU ${CPU}`);

export const MINICT = resolve('dist/minict');

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Whether `test` comes true; a generous end, for a machine that is busy. */
export async function eventually(test: () => boolean): Promise<boolean> {
  for (let tries = 0; tries < 1000; tries += 1) {
    if (test()) return true;
    await Bun.sleep(20);
  }
  return false;
}

/** One that may have ended by itself. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export class Host {
  /** Scratch folder of the test; gone with the host. */
  readonly dir: string;
  readonly root: string;
  private readonly propagation: 'private' | 'shared';
  private anchor: ReturnType<typeof Bun.spawn> | undefined;

  private constructor(dir: string, propagation: 'private' | 'shared') {
    this.dir = dir;
    this.root = join(dir, 'root');
    mkdirSync(this.root, { mode: 0o700 });
    this.propagation = propagation;
  }

  static async create(propagation: 'private' | 'shared' = 'private'): Promise<Host> {
    const host = new Host(mkdtempSync(join(tmpdir(), 'minict-test-')), propagation);
    await host.boot();
    return host;
  }

  private async boot(): Promise<void> {
    const setUp = `mount -t tmpfs run /run && mount --make-r${this.propagation} / && ip link set lo up && echo ready && exec sleep infinity`;
    const anchor = Bun.spawn(['unshare', '--mount', '--net', 'sh', '-c', setUp], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const { value } = await (anchor.stdout as ReadableStream<Uint8Array>).getReader().read();
    if (!new TextDecoder().decode(value).startsWith('ready')) throw new Error('the throwaway host did not come up');
    this.anchor = anchor;
  }

  /** Of a process in its namespaces. */
  get pid(): number {
    return this.anchor?.pid ?? -1;
  }

  /** Words that run a program in the throwaway host; each replaces the one before, so the process stays the same. */
  inside(argv: readonly string[]): string[] {
    return [NSENTER, '-t', String(this.pid), '-m', '-n', ...argv];
  }

  get env(): Record<string, string | undefined> {
    return { ...process.env, MINICT_ROOT: this.root };
  }

  run(argv: readonly string[], env: Record<string, string> = {}, stdin?: string | Uint8Array): Result {
    const child = Bun.spawnSync(this.inside(argv), {
      stdio: [stdin === undefined ? 'ignore' : Buffer.from(stdin as string), 'pipe', 'pipe'],
      env: { ...this.env, ...env },
    });
    const status = child.exitCode ?? 128 + (constants.signals[child.signalCode as NodeJS.Signals] ?? 0);
    return { status, stdout: child.stdout.toString(), stderr: child.stderr.toString() };
  }

  minict(...words: string[]): Result {
    return this.run([MINICT, ...words]);
  }

  /** Starts a program without waiting for it. */
  spawn(argv: readonly string[]) {
    return Bun.spawn(this.inside(argv), { stdio: ['ignore', 'pipe', 'pipe'], env: this.env });
  }

  snapshot(): Snapshot {
    // As the host sees it: it may have a disk of its own there.
    return takeSnapshot(this.pid, `/proc/${this.pid}/root${this.root}`, (argv) => this.run(argv).stdout);
  }

  /** A deleted namespace's veth pair goes a little later, by the kernel's own worker. */
  async linksGone(pattern: RegExp): Promise<boolean> {
    for (let tries = 0; tries < 200; tries += 1) {
      if (!pattern.test(this.run(['ip', '-o', 'link']).stdout)) return true;
      await Bun.sleep(10);
    }
    return false;
  }

  /** A snapshot, once the interfaces are those of `before`: of a deleted veth pair the kernel lets go a little later. */
  async settled(before: Snapshot): Promise<Snapshot> {
    let now = this.snapshot();
    for (let tries = 0; tries < 200 && now.network.join() !== before.network.join(); tries += 1) {
      await Bun.sleep(10);
      now = this.snapshot();
    }
    return now;
  }

  /** The cgroups are the machine's, and outlast the throwaway host: what scripts or an earlier boot had there. */
  private async removeCgroups(): Promise<void> {
    const groups = this.snapshot().cgroups.map((line) => line.split(' ')[0] as string);
    for (const group of groups.reverse()) {
      const isEmpty = () => {
        const pids = readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean);
        for (const pid of pids) kill(Number(pid));
        return pids.length === 0;
      };
      await eventually(isEmpty);
      rmdirSync(group);
    }
  }

  /** What a reboot leaves is the state folder: processes, cgroups, /run, namespaces and interfaces are gone. */
  async reboot(): Promise<void> {
    await this.removeCgroups();
    this.anchor?.kill();
    await this.anchor?.exited;
    await this.boot();
  }

  async destroy(): Promise<void> {
    const names = this.minict('ps', '-a', '-q').stdout.split('\n').filter(Boolean);
    if (names.length > 0) this.minict('rm', '-f', ...names);
    this.minict('system', 'prune');
    await this.removeCgroups();
    this.anchor?.kill();
    await this.anchor?.exited;
    rmSync(this.dir, { recursive: true, force: true });
  }
}
