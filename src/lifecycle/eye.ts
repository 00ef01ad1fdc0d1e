/** The process that has a container's root mounted, for as long as somebody looks. */
import { readFileSync } from 'node:fs';
import { firstLine, HostError } from '../errors.ts';
import { parseMountPoints } from '../host/facts.ts';
import { toolPath } from '../host/tool.ts';
import { sayCommand } from '../host/verbose.ts';
import { commandArgv } from '../runner/batch.ts';
import { runTool } from '../runner/spawn.ts';
import { isWithin } from '../spec/root-paths.ts';
import { isSealed, sealArgv, viewArgv } from '../storage/view.ts';
import { type Context, spawnContext } from './context.ts';
import type { PlannedView } from './view-plan.ts';

export class Eye {
  readonly pid: number;
  private readonly context: Context;
  private readonly planned: PlannedView;
  private readonly lockFd: number;
  private readonly end: () => Promise<void>;

  private constructor(pid: number, context: Context, planned: PlannedView, lockFd: number, end: () => Promise<void>) {
    this.pid = pid;
    this.context = context;
    this.planned = planned;
    this.lockFd = lockFd;
    this.end = end;
  }

  /** It inherits the lock's descriptor: nobody mounts the same before it is gone. Throws HostError. */
  static async open(context: Context, planned: PlannedView, lockFd: number): Promise<Eye> {
    const [tool = '', ...words] = viewArgv(planned.plan);
    if (context.verbose) sayCommand([tool, ...words]);
    const child = Bun.spawn([toolPath(tool), ...words], {
      stdio: ['pipe', 'pipe', 'pipe', lockFd],
      env: { ...process.env, LC_ALL: 'C' },
    });
    const complaints = new Response(child.stderr as ReadableStream).text();
    const end = async () => {
      await Promise.resolve(child.stdin.end()).catch(() => {});
      await child.exited;
    };
    try {
      child.stdin.write('\n');
      await child.stdin.flush();
    } catch {
      // It has ended: its own words say why.
    }
    const { done } = await child.stdout.getReader().read();
    const eye = new Eye(child.pid, context, planned, lockFd, end);
    try {
      if (done) throw new HostError(firstLine(await complaints));
      await eye.mountRest();
    } catch (error) {
      await end();
      throw error;
    }
    return eye;
  }

  private async mountRest(): Promise<void> {
    for (const { run } of this.planned.mounts(`/proc/${this.pid}/ns/mnt`)) {
      if (run.kind !== 'mount' && run.kind !== 'run') continue;
      const { exitCode, stderr } = await runTool(commandArgv(run), spawnContext(this.context, this.lockFd));
      if (exitCode !== 0) throw new HostError(firstLine(stderr));
    }
  }

  /** From then on no symlink is followed. Returns the mount points, the root among them. Throws HostError. */
  async seal(): Promise<string[]> {
    const { plan } = this.planned;
    // Of those in one place, the last is on top.
    const mounts = () =>
      new Map(
        parseMountPoints(readFileSync(`/proc/${this.pid}/mountinfo`, 'utf8'))
          .filter(({ target }) => isWithin(target, plan.rootfs))
          .map((mount) => [mount.target, mount]),
      );
    const argv = sealArgv(this.pid, plan, [...mounts().values()]);
    const { exitCode, stderr } = await runTool(argv, spawnContext(this.context, this.lockFd));
    const sealed = mounts();
    if (exitCode === 0 && [...sealed.values()].every(isSealed)) return [...sealed.keys()];
    throw new HostError(
      `cannot keep symlinks from being followed: ${firstLine(stderr) || 'mount has no nosymfollow'}`,
      {
        hint: 'needs Linux 5.10 and util-linux 2.37',
      },
    );
  }

  async close(): Promise<void> {
    await this.end();
  }
}
