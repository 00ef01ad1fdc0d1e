/** start: brings back whatever is missing, then runs the services in order, or the main command under its supervisor. */
import { existsSync, rmSync } from 'node:fs';
import { ConflictError } from '../errors.ts';
import { unblockSignals } from '../host/exec-calls.ts';
import { requireTools } from '../host/tool.ts';
import { Journal } from '../runner/journal.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { recordEvent } from '../state/events.ts';
import { type Lock, lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { readRun } from '../state/run-record.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { type Attachment, startMain } from './main-command.ts';
import { repairNetworks } from './nics.ts';
import { settle } from './own-layers.ts';
import { pausedError } from './paused.ts';
import { recover } from './remove.ts';
import { repair } from './repair.ts';
import type { ServiceLog } from './service-log.ts';
import { isRunning, isUnattended } from './status.ts';
import { settleCables } from './unfinished-cables.ts';

/** A container that was made a moment ago, by who has its lock since. */
export interface Made {
  readonly spec: ContainerSpec;
  readonly instance: string;
  readonly lock: Lock;
}

export interface StartOptions {
  /** It is brought up, and no program started. */
  readonly idle?: boolean;
  /** The caller stays with the main command. */
  readonly attachment?: Attachment;
}

/** Returns what waits for the main command's exit status; undefined where none was started. */
export async function startContainer(
  context: Context,
  instance: string,
  name: string,
  { idle, attachment }: StartOptions = {},
): Promise<(() => Promise<number>) | undefined> {
  requireTools();
  await settleCables(context, instance, name);
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, instance, name, lock.fd);
    const spec = settle(context, await getContainer(context.roots, name));
    const paths = containerPaths(context.roots, name);
    const journal = new Journal(paths.journal);
    const before = journal.read();
    if (readEnterRecord(paths)?.paused) throw pausedError('start', name);
    if (existsSync(paths.updating)) {
      await (await import('./update.ts')).finishUpdate(context, instance, spec, lock);
    }
    if (before?.phase !== 'up' && before?.phase !== 'started') rmSync(paths.oomKills, { force: true });
    await repairNetworks(context, instance, spec);
    const bringUp = () => repair(context, instance, spec, journal, lock.fd);
    if (spec.userns === undefined || existsSync(paths.userns)) await bringUp();
    else await (await import('./id-range.ts')).withOwnRange(context, spec, spec.userns.hostId, bringUp);
    if (idle) return undefined;
    if (before?.phase === 'started' && isRunning(instance, name)) {
      if (isUnattended(instance, name, readRun(paths.exit))) {
        throw new ConflictError(`cannot start ${name}: who waited for its main command was killed, and that runs on`, {
          hint: `minict restart ${name}`,
        });
      }
      // A repair has made it `up`.
      journal.phase('started');
      return undefined;
    }
    return await startMade(context, { spec, instance, lock }, attachment);
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

/** Of one that is up: its services, then its main command. Returns as startContainer does. */
export async function startMade(
  context: Context,
  { spec, instance, lock }: Made,
  attachment?: Attachment,
): Promise<(() => Promise<number>) | undefined> {
  unblockSignals();
  let services: ServiceLog | undefined;
  if (spec.services.length > 0) {
    lock.share();
    await requireUp(context, spec);
    services = await (await import('./services.ts')).runServices(context, instance, spec, lock);
  }
  const hasMain = spec.command.length > 0;
  let isRead = false;
  let attend: (() => Promise<number>) | undefined;
  try {
    recordEvent(context.roots, { type: 'container', action: 'start', name: spec.name });
    if (hasMain) attend = await startMain(context, instance, spec, lock, attachment);
    isRead = hasMain && attachment === undefined;
  } finally {
    await services?.close(isRead);
  }
  new Journal(containerPaths(context.roots, spec.name).journal).phase('started');
  if (spec.boot && attachment === undefined) {
    lock.share();
    await (await import('./boot.ts')).awaitBoot(context, instance, spec);
  }
  return attend;
}

/** Services may take their time: exec, and whoever looks after them, is not kept waiting. */
async function requireUp(context: Context, { name }: ContainerSpec): Promise<void> {
  await getContainer(context.roots, name);
  if (existsSync(containerPaths(context.roots, name).enter)) return;
  throw new ConflictError(`cannot start ${name}: it was stopped meanwhile`, { hint: `minict start ${name}` });
}
