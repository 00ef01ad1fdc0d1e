/** What every verb needs: where the state is, and how loud to be. */
import { realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { InvalidInputError, systemCause } from '../errors.ts';
import type { SpawnContext } from '../runner/spawn.ts';
import { type Roots, rootsFrom } from '../state/paths.ts';

export interface Context {
  readonly roots: Roots;
  readonly verbose: boolean;
}

export interface GlobalOptions {
  readonly root?: string;
  readonly runDir?: string;
  readonly verbose?: boolean;
}

export function contextFrom(options: GlobalOptions): Context {
  const { root, runDir } = rootsFrom(
    {
      ...(options.root === undefined ? {} : { root: options.root }),
      ...(options.runDir === undefined ? {} : { runDir: options.runDir }),
    },
    process.env,
  );
  const roots = { root: realPath(root, '--root'), runDir: realPath(runDir, '--run-dir') };
  return { roots, verbose: options.verbose ?? false };
}

/** As the kernel names it in mountinfo: absolute, without symlinks; the end of it may not be there yet. */
function realPath(path: string, option: string): string {
  if (path === '') throw new InvalidInputError(`cannot use ${option} '': no path`);
  try {
    return realpathSync(path);
  } catch (error) {
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) {
      throw new InvalidInputError(`cannot use ${option} ${path}: ${systemCause(error)}`);
    }
    return join(realPath(parent, option), basename(path));
  }
}

/** Throws InvalidInputError unless this process is root. */
export function requireRoot(what: string): void {
  if (process.getuid?.() !== 0) {
    throw new InvalidInputError(`cannot ${what}: not root`, { hint: `sudo minict ${what}` });
  }
}

export function spawnContext(context: Context, ...lockFds: number[]): SpawnContext {
  return { verbose: context.verbose, lockFds };
}
