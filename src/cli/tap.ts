/** minict network tap: a tap for a virtual machine in a network, with an address of its own. */
import { addTap, removeTap } from '../lifecycle/taps.ts';
import { networkDriver } from '../network/driver.ts';
import { parseNetworkName, parseNicName } from '../spec/name.ts';
import { parseUser } from '../spec/nic.ts';
import { addDryRun, type DryRunOptions } from './dry-run.ts';
import { type DefineNetworkVerb, scripts } from './network-scripts.ts';
import { print } from './output.ts';

interface TapOptions extends DryRunOptions {
  readonly user?: string;
  readonly ip: readonly string[];
}

export const define: DefineNetworkVerb = (tap, { begin }) => {
  addDryRun(tap)
    .option('--user <user>', 'who may open it beside root', parseUser)
    .repeatable('--ip <address>', 'address of the machine (default: next free)')
    .action(async (network: string, name: string, { user, ip, ...options }: TapOptions) => {
      const request = { name: parseNicName(name), user, ips: ip };
      const printed = scripts(
        `makes in network ${network} tap`,
        `removes from network ${network} tap`,
        (lines, context) => lines.tapLines(context, parseNetworkName(network), request),
        (lines, context) => lines.untapLines(context, parseNetworkName(network), request),
      );
      const begun = await begin('tap', options, [name], printed);
      if (begun === undefined) return;
      const { context, instance } = begun;
      const { tap: made, record } = await addTap(context, instance, parseNetworkName(network), request);
      const needs = networkDriver(record).tap?.netdevWords?.(record) ?? '';
      const qemu = [
        `-netdev tap,id=net-${name},ifname=${name},script=no,downscript=no${needs}`,
        `-device virtio-net-pci,netdev=net-${name},mac=${made.mac}`,
      ];
      const lines = [
        ...made.addresses.map((address) => ['address', address]),
        ...record.subnets.flatMap(({ gateway }) =>
          gateway === undefined || record.internal ? [] : [['gateway', gateway]],
        ),
        ['mac', made.mac],
        ['qemu', qemu.join(' ')],
      ];
      print(lines.map((words) => `${words.join(' ')}\n`).join(''));
    });
  addDryRun(tap.command('rm <name>'))
    .description('remove it, and give its address up')
    .action(async (name: string, options: DryRunOptions) => {
      const printed = scripts(
        'removes tap',
        'makes tap',
        (lines, context, each) => lines.removeTapLines(context, each),
        (lines, context, each) => lines.remakeTapLines(context, each),
        'go on',
      );
      const begun = await begin('tap rm', options, [parseNicName(name)], printed);
      if (begun === undefined) return;
      await removeTap(begun.context, begun.instance, name);
      print(`${name}\n`);
    });
};
