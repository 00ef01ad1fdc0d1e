/** minict create */

import { readMountPoints } from '../host/facts.ts';
import { bridgeState, planNetwork } from '../lifecycle/bridge.ts';
import { readFacts } from '../lifecycle/container-facts.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { planCreate } from '../lifecycle/create.ts';
import { chooseAddress } from '../lifecycle/network.ts';
import { planHost } from '../plan/container.ts';
import { script, undoScript } from '../plan/shell.ts';
import { containerPaths, MNTNS_DIR, NETNS_DIR, UTSNS_DIR } from '../state/paths.ts';
import { readInstance } from '../state/store.ts';
import { addContainerOptions, type ContainerOptions, makeContainer, specFrom, withNic } from './container-options.ts';
import type { Define } from './main.ts';
import { print } from './output.ts';

export const define: Define = (command, globals) => {
  addContainerOptions(command)
    .argument('<name>')
    .argument('[cmd...]', 'main command, after --')
    .option('--dry-run', 'print the plan as a shell script, change nothing')
    .option('--dry-run-undo', 'print the way back')
    .action(
      async (name: string, cmd: string[], options: ContainerOptions & { dryRun?: boolean; dryRunUndo?: boolean }) => {
        requireRoot('create');
        const context = contextFrom(globals());
        if (options.dryRun || options.dryRunUndo) {
          print(await dryRun(context, name, options, cmd, options.dryRunUndo ?? false));
          return;
        }
        const { spec } = await makeContainer(context, name, options, cmd);
        print(`${spec.name}\n`);
      },
    );
};

/** Reads everything, writes nothing: an instance id that is not there yet is only made up for the print. */
async function dryRun(
  context: Context,
  name: string,
  opts: ContainerOptions,
  cmd: string[],
  undo: boolean,
): Promise<string> {
  const instance = readInstance(context.roots) ?? '00000000';
  let spec = await specFrom(context, name, opts, cmd);
  const network = opts.network
    ? await chooseAddress(context, instance, { name, hostname: spec.hostname, ip: opts.ip, gateway: opts.gateway })
    : undefined;
  if (network !== undefined) spec = withNic(spec, opts, instance, network);
  const facts = readFacts(context, instance, spec, network?.record);
  const container = planCreate(context, spec, facts);
  const paths = containerPaths(context.roots, name);
  if (undo) return undoScript(`removes container ${name}, as minict would (${paths.dir})`, container);
  const mounted = readMountPoints();
  const ready = [NETNS_DIR, UTSNS_DIR, MNTNS_DIR].every((dir) => mounted.some(({ target }) => target === dir));
  const host = ready ? [] : planHost(mounted);
  const bridge =
    network !== undefined && (await bridgeState(context, instance, network.record)) === 'missing'
      ? planNetwork(network.record, instance)
      : [];
  return script(`makes container ${name}, as minict would`, [...host, ...bridge, ...container]);
}
