/** What every verb needs: where the state is, and how loud to be. */
import { InvalidInputError } from '../errors.ts';
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
  const roots = rootsFrom(
    {
      ...(options.root === undefined ? {} : { root: options.root }),
      ...(options.runDir === undefined ? {} : { runDir: options.runDir }),
    },
    process.env,
  );
  return { roots, verbose: options.verbose ?? false };
}

/** Throws InvalidInputError unless this process is root. */
export function requireRoot(what: string): void {
  if (process.getuid?.() !== 0) {
    throw new InvalidInputError(`cannot ${what}: not root`, { hint: `sudo minict ${what}` });
  }
}

export function spawnContext(context: Context, lockFd: number | undefined): SpawnContext {
  return { verbose: context.verbose, lockFd };
}
