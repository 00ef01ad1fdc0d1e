/** minict exec: becomes the program. Loads neither the planner nor execa. */
import { readFileSync, writeFileSync } from 'node:fs';
import { cgroupPaths, readCgroupHost } from '../cgroup/cgroup.ts';
import { ConflictError, HostError, InvalidInputError, NotFoundError } from '../errors.ts';
import { restoreForExec } from '../host/syscalls.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { placeOf } from '../lifecycle/place.ts';
import { becomeProgram, spawnDetached } from '../process/become.ts';
import { containerEnv, enterArgv } from '../process/enter.ts';
import { parseContainerName } from '../spec/name.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, lockContainer, readInstance } from '../state/store.ts';
import { parseEnv } from './env.ts';
import type { Define } from './main.ts';

const collect = (value: string, before: string[]) => [...before, value];

interface ExecOptions {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly detach?: boolean;
  readonly env: string[];
  readonly envFile: string[];
  readonly user?: string;
  readonly workdir?: string;
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .argument('<cmd...>')
    .option('-i, --interactive', 'pass stdin on')
    .option('-t, --tty', 'needs a terminal')
    .option('-d, --detach', 'do not wait')
    .option('-e, --env <K=V>', 'environment', collect, [])
    .option('--env-file <file>', 'environment, a K=V a line', collect, [])
    .option('-u, --user <user[:group]>', 'user, resolved inside')
    .option('-w, --workdir <dir>', 'working directory, inside')
    .passThroughOptions()
    .action((rawName: string, cmd: string[], options: ExecOptions) => {
      requireRoot('exec');
      const name = parseContainerName(rawName);
      const context = contextFrom(globals());
      if (options.tty && !process.stdin.isTTY) {
        throw new InvalidInputError('cannot use -t: stdin is no terminal', { hint: 'leave out -t' });
      }
      const instance = readInstance(context.roots);
      const paths = containerPaths(context.roots, name);
      if (instance === undefined) {
        throw new NotFoundError(`cannot find container ${name}: no such container`, { hint: 'minict ps -a' });
      }
      const spec = getContainer(context.roots, name);
      const env = containerEnv(spec, { ...readEnvFiles(options.envFile), ...parseEnv(options.env) }, terminal());
      const argv = enterArgv(placeOf(spec, paths), { argv: cmd, user: options.user, workdir: options.workdir });
      // Shared until this process is in the cgroup, so that no rm can miss it; it ends with the exec.
      lockContainer(context.roots, name, 'shared');
      getContainer(context.roots, name);
      const { enterPayload } = cgroupPaths(readCgroupHost(), instance, name);
      try {
        // No O_CREAT, no O_TRUNC: a cgroup's file is there or the container is stopped.
        writeFileSync(enterPayload, '0', { flag: 'r+' });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
          throw new HostError(`cannot enter the cgroup of ${name}: ${(error as Error).message}`);
        }
        throw new ConflictError(`cannot exec in ${name}: it is stopped`, { hint: `minict start ${name}` });
      }
      if (options.detach) {
        spawnDetached(argv, env);
        return;
      }
      becomeProgram(argv, env, options.interactive === true || process.stdin.isTTY === true, restoreForExec);
    });
};

/** TERM goes in only where there is a terminal to speak of. */
function terminal(): string | undefined {
  return process.stdin.isTTY ? process.env.TERM : undefined;
}

function readEnvFiles(files: readonly string[]): Record<string, string> {
  const lines = files.flatMap((file) => {
    try {
      return readFileSync(file, 'utf8').split('\n');
    } catch (error) {
      throw new InvalidInputError(`cannot read env file ${file}: ${(error as Error).message}`);
    }
  });
  return parseEnv(lines.filter((line) => line.trim() !== '' && !line.startsWith('#')));
}
