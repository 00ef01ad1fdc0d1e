/** minict run: create, start, attach. Attached, the program has this terminal; -d leaves it to its supervisor. */
import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { removeContainers } from '../lifecycle/remove.ts';
import { type Made, startMade } from '../lifecycle/start.ts';
import { addContainerOptions, type ContainerOptions, makeContainer } from './container-options.ts';
import { addDryRun, creation, type DryRunOptions, dryRun } from './dry-run.ts';
import { print, printError } from './output.ts';
import { reportError } from './report.ts';
import type { Define } from './verbs.ts';

interface RunOptions extends ContainerOptions, DryRunOptions {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly detach?: boolean;
}

/** So soon nobody else has found the container. */
const IS_NEW_MS = 200;

/** Of one that goes with its main command. Throws InvalidInputError. */
function refuseLasting({ restart, dryRun, dryRunUndo }: RunOptions): void {
  if (restart !== 'no') {
    throw new InvalidInputError('cannot use --restart and --rm together: what is removed is not started again', {
      hint: 'take one of them',
    });
  }
  if (dryRun || dryRunUndo) {
    throw new InvalidInputError('cannot print a script of run -d --rm: it is minict that removes it', {
      hint: 'leave out --rm',
    });
  }
}

/** As with docker, an image stood where the program stands. */
async function sayImage({ roots }: Context, name: string, [first = '']: readonly string[]): Promise<void> {
  const { nameOf, readCatalog } = await import('../image/catalog.ts');
  const { shownName } = await import('../image/reference.ts');
  const names = (await readCatalog(roots)).flatMap((entry) => nameOf(entry) ?? []);
  if (!names.some((each) => [each, shownName(each)].includes(first))) return;
  printError(`hint: ${first} is an image: minict run ${name} --image ${first}\n`);
}

export const define: Define = (command, globals) => {
  addDryRun(addContainerOptions(command))
    .argument('<name>')
    .endOptionsAtCommand()
    .argument('[cmd...]', "main command, with its options (default: the image's, or /bin/sh)")
    .option('--rm', 'remove it when the program ends')
    .option('-i, --interactive', 'pass stdin on')
    .option('-t, --tty', 'it has this terminal')
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
      const autoRemove = options.detach === true && options.rm === true;
      if (autoRemove) refuseLasting(options);
      const context = contextFrom(globals());
      const terminal = isTerminal(0);
      const cmd = { words, fallback: options.detach ? [] : ['/bin/sh'] };
      const main = options.detach ? 'detached' : 'attached';
      if (await dryRun(context, options, [name], creation(options, cmd, main))) return;
      const begin = performance.now();
      const attachment = options.detach ? undefined : { terminal, stdin: terminal || options.interactive === true };
      let instance: string | undefined;
      const start = (made: Made) => {
        instance = made.instance;
        return startMade(context, made, attachment);
      };
      let isLeft = false;
      try {
        const attend = await makeContainer(context, name, { ...options, autoRemove }, cmd, start);
        if (options.detach) print(`${name}\n`);
        else process.exitCode = await attend?.();
        if (process.exitCode === 127 && options.image === undefined) await sayImage(context, name, words);
        isLeft = options.detach === true;
      } finally {
        if (options.rm && !isLeft && instance !== undefined) {
          const isNew = performance.now() - begin < IS_NEW_MS;
          for (const error of (await removeContainers(context, instance, [name], true, { isNew })).errors) {
            const failure = reportError(error);
            process.exitCode ||= failure;
          }
        }
      }
    });
};
