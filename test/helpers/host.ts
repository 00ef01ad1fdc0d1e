/**
 * A throwaway host: its own mount and network namespaces, a private /run, a state folder of its own. Nothing on the
 * machine is touched, and test files run side by side. One CPU: mount-namespace ids are handed out per CPU, and in a
 * nested namespace `unshare --mount=FILE` fails by chance where they come out of order.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** Absolute, so that a test's own PATH is for minict alone. */
const NSENTER = Bun.which('nsenter') as string;

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

export class Host {
  readonly root: string;
  private readonly anchor: ReturnType<typeof Bun.spawn>;
  private readonly pid: number;

  private constructor(root: string, anchor: ReturnType<typeof Bun.spawn>, pid: number) {
    this.root = root;
    this.anchor = anchor;
    this.pid = pid;
  }

  static async create(propagation: 'private' | 'shared' = 'private'): Promise<Host> {
    const root = mkdtempSync(join(tmpdir(), 'minict-test-'));
    const setUp = `mount -t tmpfs run /run && mount --make-r${propagation} / && ip link set lo up && echo ready && exec sleep infinity`;
    const anchor = Bun.spawn(['taskset', '-c', '0', 'unshare', '--mount', '--net', 'sh', '-c', setUp], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const reader = (anchor.stdout as ReadableStream<Uint8Array>).getReader();
    const { value } = await reader.read();
    if (!new TextDecoder().decode(value).startsWith('ready')) throw new Error('the throwaway host did not come up');
    return new Host(root, anchor, anchor.pid);
  }

  /** Words that run a program in the throwaway host; each replaces the one before, so the process stays the same. */
  inside(argv: readonly string[]): string[] {
    return ['taskset', '-c', '0', NSENTER, '-t', String(this.pid), '-m', '-n', ...argv];
  }

  get env(): Record<string, string | undefined> {
    return { ...process.env, MINICT_ROOT: this.root };
  }

  run(argv: readonly string[], env: Record<string, string> = {}, stdin?: string): Result {
    const child = Bun.spawnSync(this.inside(argv), {
      stdio: [stdin === undefined ? 'ignore' : new TextEncoder().encode(stdin), 'pipe', 'pipe'],
      env: { ...this.env, ...env },
    });
    return { status: child.exitCode, stdout: child.stdout.toString(), stderr: child.stderr.toString() };
  }

  minict(...words: string[]): Result {
    return this.run([MINICT, ...words]);
  }

  /** Starts a program without waiting for it. */
  spawn(argv: readonly string[]) {
    return Bun.spawn(this.inside(argv), { stdio: ['ignore', 'pipe', 'pipe'], env: this.env });
  }

  /** What a create could leave: links, mounts, namespace files, cgroups, folders. Read from the kernel. */
  snapshot(): Record<string, unknown> {
    const links = JSON.parse(this.run(['ip', '-j', 'link']).stdout) as { ifname: string }[];
    const mounts = readFileSync(`/proc/${this.pid}/mountinfo`, 'utf8').split('\n').length;
    const files = this.run(['sh', '-c', 'ls -A /run/netns /run/utsns /run/mntns 2>/dev/null']).stdout;
    return {
      links: links.map((link) => link.ifname).sort(),
      mounts,
      files,
      folders: readdirSync(join(this.root, 'containers')),
    };
  }

  /** A deleted namespace's veth pair goes a little later, by the kernel's own worker. */
  async linksGone(pattern: RegExp): Promise<boolean> {
    for (let tries = 0; tries < 200; tries += 1) {
      if (!pattern.test(this.run(['ip', '-o', 'link']).stdout)) return true;
      await Bun.sleep(10);
    }
    return false;
  }

  async destroy(): Promise<void> {
    const names = this.minict('ps', '-a', '-q').stdout.split('\n').filter(Boolean);
    if (names.length > 0) this.minict('rm', '-f', ...names);
    this.minict('system', 'prune');
    this.anchor.kill();
    await this.anchor.exited;
    rmSync(this.root, { recursive: true, force: true });
  }
}
