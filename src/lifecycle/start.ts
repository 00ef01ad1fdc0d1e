/** start: bring up what is missing, then services in order, or the main command under its supervisor. */
import { rmSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { containerEnv, enterArgv, inCgroupArgv, supervisorArgv } from '../process/enter.ts';
import { Journal } from '../runner/journal.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, lockContainer } from '../state/store.ts';
import { recover, repairContainer } from './bring-up.ts';
import type { Context } from './context.ts';
import { repairNetwork } from './network.ts';
import { placeOf } from './place.ts';
import { cgroupOf, readStatus } from './status.ts';

/** Programs of a container never hold a lock: stdio is all they get. */
function runInside(context: Context, instance: string, spec: ContainerSpec, line: string): number {
  const place = placeOf(spec, containerPaths(context.roots, spec.name));
  const argv = enterArgv(place, { argv: ['/bin/sh', '-c', line] });
  const { enterPayload } = cgroupOf(instance, spec.name);
  const child = Bun.spawnSync(inCgroupArgv(enterPayload, argv), {
    stdio: ['ignore', 2, 2],
    env: containerEnv(spec, {}, undefined),
  });
  return child.exitCode;
}

export function runStopCommands(context: Context, instance: string, spec: ContainerSpec): void {
  for (const line of spec.stopCommands) runInside(context, instance, spec, line);
}

export async function startContainer(
  context: Context,
  instance: string,
  name: string,
  options: { main: boolean } = { main: true },
): Promise<ContainerSpec> {
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, name, lock.fd);
    const spec = getContainer(context.roots, name);
    const paths = containerPaths(context.roots, name);
    const before = readStatus(context, instance, spec);
    if (before.state === 'broken' || before.state === 'stopped') {
      const network = spec.nic && (await repairNetwork(context, instance, spec.nic.network));
      await repairContainer(context, instance, spec, network, lock.fd);
    }
    const journal = new Journal(paths.journal);
    const running = before.state === 'running';
    if (running && journal.read()?.phase === 'started') return spec;
    for (const line of spec.services) {
      const status = runInside(context, instance, spec, line);
      if (status !== 0) throw new HostError(`cannot start ${name}: service '${line}' ended with ${status}`);
    }
    if (options.main && spec.command.length > 0) startMain(context, instance, spec);
    journal.phase('started');
    return spec;
  } finally {
    lock.release();
  }
}

function startMain(context: Context, instance: string, spec: ContainerSpec): void {
  const paths = containerPaths(context.roots, spec.name);
  rmSync(paths.exit, { force: true });
  const argv = enterArgv(placeOf(spec, paths), { argv: spec.command });
  Bun.spawnSync(supervisorArgv(cgroupOf(instance, spec.name), paths.dir, argv), {
    stdio: ['ignore', 'ignore', 'ignore'],
    env: containerEnv(spec, {}, undefined),
  });
}
