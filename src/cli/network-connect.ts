/** minict network connect|disconnect */
import { NotFoundError } from '../errors.ts';
import { connect as connectContainer, disconnect as disconnectContainer, findNic } from '../lifecycle/connect.ts';
import type { Context } from '../lifecycle/context.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { parseContainerName, parseNetworkName, parseNicName } from '../spec/name.ts';
import { checkNic, ipSettings } from '../spec/nic.ts';
import { listNetworks } from '../state/network.ts';
import { listContainers } from '../state/store.ts';
import { addDryRun, type DryRunOptions } from './dry-run.ts';
import { type DefineNetworkVerb, scripts } from './network-scripts.ts';
import { type AddressOptions, addAddressOptions } from './nic-options.ts';
import { print } from './output.ts';

/** The names the other way round: the hint says so. */
async function inOrder<T>(
  context: Context,
  words: readonly [string, string, string],
  act: () => Promise<T>,
): Promise<T> {
  const [verb, network, container] = words;
  try {
    return await act();
  } catch (error) {
    const { roots } = context;
    const isTurned = listNetworks(roots).includes(container) && listContainers(roots).includes(network);
    if (!(error instanceof NotFoundError && isTurned)) throw error;
    const hint = `the network stands first: minict network ${verb} ${container} ${network}`;
    throw new NotFoundError(error.message, { hint });
  }
}

export const connect: DefineNetworkVerb = (command, { begin }) => {
  addDryRun(addAddressOptions(command))
    .option('--name <interface>', 'its name inside (default: the next free ethN)', parseNicName)
    .action(async (network: string, container: string, options: AddressOptions & DryRunOptions & { name?: string }) => {
      const { name, ip, gateway, macAddress, mtu } = options;
      const settings = { name, ...ipSettings(ip), gateways: gateway, mac: macAddress, mtuBytes: mtu };
      const request = checkNic({ network: parseNetworkName(network), ...settings });
      const printed = scripts(
        `connects to ${network}:`,
        `disconnects from ${network}:`,
        (lines, context, each) => lines.connectLines(context, each, request),
        (lines, context, each) => lines.unconnectLines(context, each, request),
      );
      const begun = await begin('connect', options, [container], printed);
      if (begun === undefined) return;
      const nic = await inOrder(begun.context, ['connect', network, container], () =>
        connectContainer(begun.context, begun.instance, parseContainerName(container), request),
      );
      print(`${container}:${nic.name}\n`);
    });
};

export const disconnect: DefineNetworkVerb = (command, { begin }) => {
  addDryRun(command)
    .option('--name <interface>', 'which one, where there are several', parseNicName)
    .action(async (network: string, container: string, options: DryRunOptions & { name?: string }) => {
      const { name } = options;
      const printed = scripts(
        `disconnects from ${network}:`,
        `connects to ${network}:`,
        (lines, context, each) => lines.disconnectLines(context, each, parseNetworkName(network), name),
        (lines, context, each) => lines.undisconnectLines(context, each, parseNetworkName(network), name),
      );
      const begun = await begin('disconnect', options, [container], printed);
      if (begun === undefined) return;
      const { context, instance } = begun;
      const find = (spec: ContainerSpec) => findNic(spec, parseNetworkName(network), name);
      await inOrder(context, ['disconnect', network, container], () =>
        disconnectContainer(context, instance, parseContainerName(container), find),
      );
    });
};
