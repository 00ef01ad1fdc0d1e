/** Addresses that a killed create, or rm, still has: they are taken back where somebody needs one. */
import { existsSync } from 'node:fs';
import { AddressTakenError, HostError } from '../errors.ts';
import { releaseContainer, tryLockContainer } from '../state/locks.ts';
import { readNetwork } from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { recover } from './remove.ts';

/** What `attempt` gives; once more where it fails for an address that nobody has any more. It holds no lock when it fails. */
export async function takingBack<T>(context: Context, instance: string, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof AddressTakenError && (await takeBack(context, instance, error.network)))) throw error;
    return attempt();
  }
}

/** Removes what is left of the network's members that are no containers, and not under way. Says whether there were any. */
async function takeBack(context: Context, instance: string, network: string): Promise<boolean> {
  const members = Object.keys((await readNetwork(context.roots, network))?.members ?? {});
  let count = 0;
  for (const name of members) {
    if (existsSync(containerPaths(context.roots, name).json)) continue;
    const lock = tryLockContainer(context.roots, name);
    if (lock === undefined) continue;
    try {
      if (await recover(context, instance, name, lock.fd)) count += 1;
    } catch (error) {
      // What cannot be removed keeps its address.
      if (!(error instanceof HostError)) throw error;
    } finally {
      releaseContainer(context.roots, name, lock);
    }
  }
  return count > 0;
}
