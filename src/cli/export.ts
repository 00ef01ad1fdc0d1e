/** minict export NAME */
import { closeSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { InvalidInputError, type MinictError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { statUserPath } from '../host/user-path.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { reportFailure } from './report.ts';
import type { Define } from './verbs.ts';

type Write = (output: number) => Promise<readonly MinictError[]>;

/** A file that was there stays until the new one is whole. */
async function writeFile(path: string, write: Write): Promise<readonly MinictError[]> {
  statUserPath(dirname(path), `export to ${path}`);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && !stat.isFile()) {
    throw new InvalidInputError(`cannot export to ${path}: it is no file`, { hint: 'minict export NAME >PATH' });
  }
  const temporary = `${path}.minict-${process.pid}`;
  const output = openSync(temporary, 'wx', 0o600);
  try {
    const failures = await write(output);
    renameSync(temporary, path);
    return failures;
  } finally {
    closeSync(output);
    rmSync(temporary, { force: true });
  }
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .option('-o, --output <file>', 'a file, and not stdout')
    .action(async (rawName: string, { output }: { output?: string }) => {
      requireRoot('export');
      const name = parseContainerName(rawName);
      if (output === undefined && isTerminal(1)) {
        throw new InvalidInputError(`cannot export ${name}: stdout is a terminal`, {
          hint: `minict export ${name} -o ${name}.tar`,
        });
      }
      const { exportRoot } = await import('../lifecycle/export.ts');
      const write: Write = (descriptor) => exportRoot(contextFrom(globals()), name, descriptor);
      const failures = output === undefined ? await write(1) : await writeFile(output, write);
      for (const failure of failures) reportFailure(failure);
    });
};
