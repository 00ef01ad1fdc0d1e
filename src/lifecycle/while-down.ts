/** What can only be done to a container that is down: it is stopped for it, and brought back to where it was. */
import { existsSync } from 'node:fs';
import { ConflictError } from '../errors.ts';
import { Journal } from '../runner/journal.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { settle } from './own-layers.ts';
import { startContainer } from './start.ts';
import { stopContainer } from './stop.ts';

/**
 * Namespaces, with their addresses, links, routes, tc and nft rules, stay; processes end (TERM, `graceMs`, KILL) and the
 * services or the main command are started again. It is brought back also where `change` throws.
 */
export async function whileDown(
  context: Context,
  instance: string,
  name: string,
  graceMs: number,
  change: (spec: ContainerSpec, lockFd: number) => void | Promise<void>,
): Promise<void> {
  const paths = containerPaths(context.roots, name);
  await getContainer(context.roots, name);
  const wasUp = existsSync(paths.enter);
  const idle = new Journal(paths.journal).read()?.phase !== 'started';
  if (wasUp) await stopContainer(context, instance, name, graceMs, { keep: true });
  try {
    const lock = lockContainer(context.roots, name, 'exclusive');
    try {
      const spec = settle(context, await getContainer(context.roots, name));
      if (existsSync(paths.enter)) {
        throw new ConflictError(`cannot change the files of ${name}: it was started meanwhile`, {
          hint: `minict stop ${name}`,
        });
      }
      await change(spec, lock.fd);
    } finally {
      releaseContainer(context.roots, name, lock);
    }
  } finally {
    if (wasUp) await startContainer(context, instance, name, { idle });
  }
}
