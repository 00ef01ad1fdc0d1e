/** minict system units|install-units|remove-units */

import { contextFrom, type GlobalOptions, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { print } from './output.ts';
import type { VerbCommand } from './verb-command.ts';

type Change = 'installUnits' | 'removeUnits';

export function defineUnits(command: VerbCommand, globals: () => GlobalOptions): void {
  const load = () => import('../lifecycle/units.ts');
  command
    .command('units')
    .description('print the systemd unit that brings a container up at boot')
    .action(async () => {
      requireRoot('system units');
      print((await load()).unitText(contextFrom(globals())));
    });
  const change = (word: string, what: string, verb: Change) =>
    command
      .command(`${word} [name...]`)
      .description(what)
      .option('--dir <dir>', 'where systemd looks for them', '/etc/systemd/system')
      .action(async (names: string[], { dir }: { dir: string }) => {
        requireRoot(`system ${word}`);
        const context = contextFrom(globals());
        const wanted = names.map(parseContainerName);
        const units = await (await load())[verb](context, ensureState(context.roots), wanted, dir);
        print(units.map((unit) => `${unit}\n`).join(''));
      });
  change(
    'install-units',
    'have systemd start containers at boot: those named, or by their restart policy',
    'installUnits',
  );
  change('remove-units', 'leave them down at boot: those named, or all', 'removeUnits');
}
