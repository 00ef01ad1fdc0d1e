/** minict network tap: a tap for a virtual machine in a network, with an address of its own. */
import type { Command } from 'commander';
import type { Context } from '../lifecycle/context.ts';
import { addTap, removeTap } from '../lifecycle/taps.ts';
import { parseNetworkName, parseNicName } from '../spec/name.ts';
import { parseUser } from '../spec/nic.ts';
import { print } from './output.ts';
import { repeatable } from './repeatable.ts';

export function defineTap(command: Command, begin: (verb: string) => { context: Context; instance: string }): void {
  const tap = command
    .command('tap')
    .description('a tap for a virtual machine; prints its address and what qemu wants')
    .argument('<network>')
    .argument('<name>')
    .option('--user <user>', 'who may open it beside root', parseUser)
    .addOption(repeatable('--ip <address>', 'address of the machine (default: next free)'))
    .action(async (network: string, name: string, { user, ip }: { user?: string; ip: readonly string[] }) => {
      const request = { name: parseNicName(name), user, ips: ip };
      const { context, instance } = begin('tap');
      const { tap: made, record } = await addTap(context, instance, parseNetworkName(network), request);
      const qemu = [
        `-netdev tap,id=net-${name},ifname=${name},script=no,downscript=no`,
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
  tap
    .command('rm <name>')
    .description('remove it, and give its address up')
    .action(async (name: string) => {
      const { context } = begin('tap rm');
      await removeTap(context, parseNicName(name));
      print(`${name}\n`);
    });
}
