/** minict link: a cable between two containers; link ls|down|up|rm. */
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import type { LinkLines } from '../lifecycle/dry-run-link.ts';
import { addLink, removeLink, setLink } from '../lifecycle/links.ts';
import { parseCableEnd, parseEnd } from '../spec/nic.ts';
import { ensureState } from '../state/store.ts';
import { addDryRun, type DryRunOptions, dryRun, type Scripts } from './dry-run.ts';
import { print } from './output.ts';
import type { Define } from './verbs.ts';

type Lines = typeof import('../lifecycle/dry-run-link.ts');

/** Both ways of a verb come of one plan. */
function scripts(does: string, undoes: string, plan: (lines: Lines, context: Context) => Promise<LinkLines>): Scripts {
  const lines = async (context: Context) => plan(await import('../lifecycle/dry-run-link.ts'), context);
  return {
    does,
    undoes,
    onFailure: 'stop',
    run: async (_, context) => (await lines(context)).run,
    undo: async (_, context) => (await lines(context)).undo,
  };
}

export const define: Define = (command, globals) => {
  /** Undefined where a script was asked for, and printed. */
  const begin = async (verb: string, options: DryRunOptions, name: string, printed: Scripts) => {
    requireRoot(verb);
    const context = contextFrom(globals());
    if (await dryRun(context, options, [name], printed)) return undefined;
    return { context, instance: ensureState(context.roots) };
  };
  addDryRun(command)
    .argument('<end>', 'CONTAINER:INTERFACE, with ,ip= ,gateway= ,mac= ,mtu= as --nic has them')
    .argument('<end>')
    .usage('CONTAINER:INTERFACE[,ip=…] CONTAINER:INTERFACE[,ip=…] | down|up|rm CONTAINER:INTERFACE | ls')
    .action(async (one: string, other: string, options: DryRunOptions) => {
      const ends = [parseCableEnd(one), parseCableEnd(other)] as const;
      const names = ends.map(({ container, nic }) => `${container}:${nic}`).join(' ');
      const printed = scripts(`makes cable ${names} of`, `removes cable ${names} of`, (lines, context) =>
        lines.addLinkLines(context, ends),
      );
      const begun = await begin('link', options, ends[0].container, printed);
      if (begun === undefined) return;
      await addLink(begun.context, begun.instance, ends);
      print(`${names}\n`);
    });
  for (const wanted of ['down', 'up'] as const) {
    addDryRun(command.command(`${wanted} <container:interface>`))
      .description(wanted === 'down' ? "take an interface's carrier away, until link up" : 'give it back')
      .action(async (text: string, options: DryRunOptions) => {
        const { container, nic } = parseEnd(text);
        const other = wanted === 'down' ? 'up' : 'down';
        const printed = scripts(`takes ${wanted} ${nic} of`, `takes ${other} ${nic} of`, (lines, context) =>
          lines.setLinkLines(context, container, nic, wanted),
        );
        const begun = await begin(`link ${wanted}`, options, container, printed);
        if (begun === undefined) return;
        await setLink(begun.context, begun.instance, container, nic, wanted);
        print(`${text}\n`);
      });
  }
  command
    .command('ls [container...]')
    .description('cables with both of their ends')
    .option('--format <format>', 'table or json', 'table')
    .action(async (names: string[], { format }: { format: string }) => {
      requireRoot('link ls');
      await (await import('./link-ls.ts')).listCables(contextFrom(globals()), names, format);
    });
  addDryRun(command.command('rm <container:interface>'))
    .description('remove a cable with both of its ends, or give a network card back')
    .action(async (text: string, options: DryRunOptions) => {
      const { container, nic } = parseEnd(text);
      const printed = scripts(`removes ${nic} of`, `makes ${nic} of`, (lines, context) =>
        lines.removeLinkLines(context, container, nic),
      );
      const begun = await begin('link rm', options, container, printed);
      if (begun === undefined) return;
      await removeLink(begun.context, begun.instance, container, nic);
      print(`${text}\n`);
    });
};
