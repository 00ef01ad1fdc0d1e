/** minict exec: becomes the program. Loads neither zod, the planner nor execa: every import is time. */
import { existsSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { ConflictError, HostError, InvalidInputError, type MinictError, NotFoundError } from '../errors.ts';
import { isTerminal, restoreForExec } from '../host/syscalls.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { becomeProgram, spawnDetached } from '../process/become.ts';
import { enterArgv } from '../process/enter.ts';
import { parseContainerName } from '../spec/name.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { type Lock, lockContainer } from '../state/locks.ts';
import { type ContainerPaths, containerPaths } from '../state/paths.ts';
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
      const { roots } = contextFrom(globals());
      const terminal = isTerminal(0);
      if (options.tty && !terminal) {
        throw new InvalidInputError('cannot use -t: stdin is no terminal', { hint: 'leave out -t' });
      }
      const given = { ...readEnvFiles(options.envFile), ...parseEnv(options.env) };
      // Shared until this process is in the cgroup, so that no rm can miss it; it ends with the exec.
      const lock = lockContainer(roots, name, 'shared');
      const paths = containerPaths(roots, name);
      const record = readEnterRecord(paths);
      if (record === undefined) throw notUp(paths, name, lock);
      const argv = enterArgv(record.place, { argv: cmd, user: options.user, workdir: options.workdir });
      const term = terminal && process.env.TERM !== undefined ? { TERM: process.env.TERM } : {};
      const env = { ...term, ...record.env, ...given };
      try {
        // No O_CREAT: where the container is stopped, its cgroup is gone.
        writeFileSync(record.enterPayload, '0', { flag: 'r+' });
      } catch (error) {
        throw new HostError(`cannot enter the cgroup of ${name}: ${(error as Error).message}`, {
          hint: `minict start ${name}`,
        });
      }
      if (options.detach) spawnDetached(argv, env);
      else becomeProgram(argv, env, options.interactive === true || terminal, restoreForExec);
    });
};

/** Why there is nothing to enter. A name that nobody has keeps no lock file either. */
function notUp(paths: ContainerPaths, name: string, lock: Lock): MinictError {
  if (existsSync(paths.json)) {
    return new ConflictError(`cannot exec in ${name}: it is stopped`, { hint: `minict start ${name}` });
  }
  unlinkSync(paths.lock);
  lock.release();
  return new NotFoundError(`cannot find container ${name}: no such container`, { hint: 'minict ps -a' });
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
