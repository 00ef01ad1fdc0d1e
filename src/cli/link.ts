/** minict link: a cable between two containers; link down|up|rm. */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { addLink, removeLink, setLink } from '../lifecycle/links.ts';
import { parseCableEnd, parseEnd } from '../spec/nic.ts';
import { ensureState } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './program.ts';

export const define: Define = (command, globals) => {
  const begin = (verb: string) => {
    requireRoot(verb);
    const context = contextFrom(globals());
    return { context, instance: ensureState(context.roots) };
  };
  command
    .argument('<end>', 'CONTAINER:INTERFACE, with ,ip= ,gateway= ,mac= ,mtu= as --nic has them')
    .argument('<end>')
    .usage('CONTAINER:INTERFACE[,ip=…] CONTAINER:INTERFACE[,ip=…] | down|up|rm CONTAINER:INTERFACE')
    .action(async (one: string, other: string) => {
      const ends = [parseCableEnd(one), parseCableEnd(other)] as const;
      const { context, instance } = begin('link');
      await addLink(context, instance, ends);
      print(`${ends.map(({ container, nic }) => `${container}:${nic}`).join(' ')}\n`);
    });
  for (const wanted of ['down', 'up'] as const) {
    command
      .command(`${wanted} <container:interface>`)
      .description(wanted === 'down' ? "take an interface's carrier away, until link up" : 'give it back')
      .action(async (text: string) => {
        const { container, nic } = parseEnd(text);
        const { context, instance } = begin(`link ${wanted}`);
        await setLink(context, instance, container, nic, wanted);
        print(`${text}\n`);
      });
  }
  command
    .command('rm <container:interface>')
    .description('remove a cable with both of its ends, or give a network card back')
    .action(async (text: string) => {
      const { container, nic } = parseEnd(text);
      const { context, instance } = begin('link rm');
      await removeLink(context, instance, container, nic);
      print(`${text}\n`);
    });
};
