/** minict run: create, start, attach. Attached, the program has this terminal; -d leaves it to its supervisor. */
import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { removeContainers } from '../lifecycle/remove.ts';
import { startContainer } from '../lifecycle/start.ts';
import { addContainerOptions, type ContainerOptions, makeContainer } from './container-options.ts';
import { addDryRun, creation, type DryRunOptions, dryRun } from './dry-run.ts';
import { print } from './output.ts';
import { reportError } from './report.ts';
import type { Define } from './verbs.ts';

interface RunOptions extends ContainerOptions, DryRunOptions {
  readonly rm?: boolean;
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly detach?: boolean;
}

/** So soon nobody else has found the container. */
const IS_NEW_MS = 200;

export const define: Define = (command, globals) => {
  addDryRun(addContainerOptions(command))
    .argument('<name>')
    .endOptionsAtCommand()
    .argument('[cmd...]', "main command, with its options (default: the image's, or /bin/sh)")
    .option('--rm', 'remove it when the program ends')
    .option('-i, --interactive', 'pass stdin on')
    .option('-t, --tty', 'needs a terminal')
    .option('-d, --detach', 'leave it running; its output goes to the logs')
    .action(async (name: string, words: string[], options: RunOptions) => {
      requireRoot('run');
      if (options.tty && !isTerminal(0)) {
        throw new InvalidInputError('cannot use -t: stdin is no terminal', { hint: 'leave out -t' });
      }
      if (options.restart !== 'no' && !options.detach) {
        throw new InvalidInputError('cannot use --restart without -d: who is attached stays to the end', {
          hint: '-d',
        });
      }
      if (options.detach && options.rm)
        throw new InvalidInputError('cannot use -d and --rm together: nobody stays to remove it', {
          hint: 'minict wait NAME; minict rm NAME',
        });
      const context = contextFrom(globals());
      const terminal = isTerminal(0);
      const cmd = { words, fallback: options.detach ? [] : ['/bin/sh'] };
      const main = options.detach ? 'detached' : 'attached';
      if (await dryRun(context, options, [name], creation(options, cmd, main))) return;
      const begin = performance.now();
      const { instance } = await makeContainer(context, name, options, cmd);
      if (options.detach) {
        await startContainer(context, instance, name, { fresh: true });
        print(`${name}\n`);
        return;
      }
      try {
        const attachment = { terminal, stdin: terminal || options.interactive === true };
        const attend = await startContainer(context, instance, name, { fresh: true, attachment });
        process.exitCode = await attend?.();
      } finally {
        if (options.rm) {
          const isNew = performance.now() - begin < IS_NEW_MS;
          for (const error of (await removeContainers(context, instance, [name], true, isNew)).errors) {
            const failure = reportError(error);
            process.exitCode ||= failure;
          }
        }
      }
    });
};
