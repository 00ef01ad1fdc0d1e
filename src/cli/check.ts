/** minict check */
import { InvalidInputError } from '../errors.ts';
import { checkEscapes } from '../lifecycle/check.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { print, requireFormat, table } from './output.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .option('--escape', 'try the known ways out of it, and say what stops each; none does harm where it is open')
    .option('--format <format>', 'table or json', 'table')
    .addHelpText('after', '\nExit status: 0 where all are stopped, 1 where one is open.')
    .action(async (rawName: string, options: { escape?: boolean; format: string }) => {
      requireRoot('check');
      requireFormat(options.format);
      const name = parseContainerName(rawName);
      if (!options.escape) throw new InvalidInputError(`cannot check ${name}: for what?`, { hint: '--escape' });
      const tried = await checkEscapes(contextFrom(globals()), name);
      if (tried.some(({ result }) => result === 'open')) process.exitCode = 1;
      if (options.format === 'json') print(`${JSON.stringify(tried)}\n`);
      else print(table([['WAY', 'RESULT', 'WHY'], ...tried.map(({ way, result, why }) => [way, result, why])]));
    });
};
