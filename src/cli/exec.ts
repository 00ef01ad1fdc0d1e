/** minict exec, with its options; one without any never comes here (see main.ts). */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { type ExecOptions, execProgram } from '../lifecycle/exec.ts';
import { environmentFrom } from './env.ts';
import type { Define } from './verbs.ts';

interface Options extends Omit<ExecOptions, 'env' | 'leave'> {
  readonly detach?: boolean;
  readonly env: string[];
  readonly envFile: string[];
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .argument('<cmd...>')
    .option('-i, --interactive', 'pass stdin on')
    .option('-t, --tty', 'it has a terminal')
    .option('-d, --detach', 'do not wait, once it has begun')
    .repeatable('-e, --env <K=V>', 'environment')
    .repeatable('--env-file <file>', 'environment, a K=V a line')
    .option('-u, --user <user[:group]>', 'user, resolved inside')
    .option('-w, --workdir <dir>', 'working directory, inside')
    .passThroughOptions()
    .action(async (name: string, cmd: string[], options: Options) => {
      requireRoot('exec');
      const env = environmentFrom(options.envFile, options.env);
      const leave = options.detach ? { leave: (await import('../process/detach.ts')).startDetached } : {};
      await execProgram(contextFrom(globals()), name, cmd, { ...options, ...leave, env });
    });
};
