/** minict run: create, start, attach. Attached, the program has this terminal; -d leaves it to its supervisor. */

import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/syscalls.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { placeOf } from '../lifecycle/place.ts';
import { removeContainers } from '../lifecycle/remove.ts';
import { startContainer } from '../lifecycle/start.ts';
import { cgroupOf } from '../lifecycle/status.ts';
import { containerEnv, enterArgv, inCgroupArgv, programEnv } from '../process/enter.ts';
import { containerPaths } from '../state/paths.ts';
import { addContainerOptions, type ContainerOptions, makeContainer } from './container-options.ts';
import { addDryRun, creation, type DryRunOptions, dryRun } from './dry-run.ts';
import type { Define } from './main.ts';
import { print } from './output.ts';
import { reportError } from './report.ts';

interface RunOptions extends ContainerOptions, DryRunOptions {
  readonly rm?: boolean;
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly detach?: boolean;
}

export const define: Define = (command, globals) => {
  addDryRun(addContainerOptions(command))
    .argument('<name>')
    .argument('[cmd...]', 'main command, after -- (default: /bin/sh)')
    .option('--rm', 'remove it when the program ends')
    .option('-i, --interactive', 'pass stdin on')
    .option('-t, --tty', 'needs a terminal')
    .option('-d, --detach', 'leave it running')
    .action(async (name: string, words: string[], options: RunOptions) => {
      requireRoot('run');
      if (options.tty && !isTerminal(0)) {
        throw new InvalidInputError('cannot use -t: stdin is no terminal', { hint: 'leave out -t' });
      }
      if (options.detach && options.rm) throw new InvalidInputError('cannot use -d and --rm together');
      const context = contextFrom(globals());
      const cmd = words.length > 0 ? words : ['/bin/sh'];
      const main = options.detach ? 'detached' : 'attached';
      if (await dryRun(context, options, [name], creation(options, cmd, main))) return;
      const { spec, instance } = await makeContainer(context, name, options, cmd);
      if (options.detach) {
        await startContainer(context, instance, name, { main: true, fresh: true });
        print(`${name}\n`);
        return;
      }
      try {
        await startContainer(context, instance, name, { main: false, fresh: true });
        const paths = containerPaths(context.roots, name);
        const argv = enterArgv(placeOf(spec, paths), { argv: cmd });
        const terminal = isTerminal(0);
        const stdin = options.interactive || terminal ? 'inherit' : 'ignore';
        const child = Bun.spawn(inCgroupArgv(cgroupOf(instance, name).enterPayload, argv), {
          stdio: [stdin, 'inherit', 'inherit'],
          env: programEnv(containerEnv(spec), { term: terminal ? process.env.TERM : undefined }),
        });
        // The terminal sends INT and QUIT to the program too; others are handed on.
        for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, () => {});
        for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
        await child.exited;
        const status =
          child.signalCode === null
            ? (child.exitCode ?? 125)
            : 128 + (constants.signals[child.signalCode as NodeJS.Signals] ?? 0);
        writeFileSync(paths.exit, `${status} ${Math.floor(Date.now() / 1000)}\n`);
        process.exitCode = status;
      } finally {
        if (options.rm) {
          for (const error of (await removeContainers(context, instance, [name], true)).errors) {
            const failure = reportError(error);
            process.exitCode ||= failure;
          }
        }
      }
    });
};
