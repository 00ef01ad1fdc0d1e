/** minict rename */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { renameContainer } from '../lifecycle/rename.ts';
import { parseContainerName, parseNewContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { print } from './output.ts';
import { reportNote, reportWarning } from './report.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .argument('<new>')
    .action(async (rawName: string, rawNew: string) => {
      requireRoot('rename');
      const [name, to] = [parseContainerName(rawName), parseNewContainerName(rawNew)];
      const context = contextFrom(globals());
      const instance = ensureState(context.roots);
      const isUp = await renameContainer(context, instance, name, to);
      print(`${to}\n`);
      if (isUp) reportNote(`${to} was brought up anew, as by stop and start`);
      const unit = (await import('../lifecycle/units.ts')).enabledUnit(context, instance, name);
      if (unit === undefined) return;
      reportWarning(
        `${unit}, which is to bring it up at boot, has its old name`,
        `minict system install-units ${to}; minict system remove-units ${name}`,
      );
    });
};
