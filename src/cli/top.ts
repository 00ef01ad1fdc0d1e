/** minict top: the host's ps(1) about a container's processes. */
import { processesIn } from '../cgroup/processes.ts';
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { missingTool } from '../host/tool.ts';
import { readToolOutput } from '../host/tool-output.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { cgroupOf } from '../lifecycle/status.ts';
import { parseContainerName } from '../spec/name.ts';
import { getContainer, readInstance } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './program.ts';

/** Of all that ps says, by its column of process ids: options may choose any processes and columns. */
function linesOf(pids: readonly number[], output: string): string[] {
  const [header = '', ...lines] = output.trimEnd().split('\n');
  const column = header.trim().split(/\s+/).indexOf('PID');
  if (column === -1) {
    throw new InvalidInputError('cannot show processes: what ps prints has no column PID', { hint: '-o pid,…' });
  }
  const wanted = new Set(pids.map(String));
  return [header, ...lines.filter((line) => wanted.has(line.trim().split(/\s+/)[column] ?? ''))];
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .argument('[ps-options...]', 'of ps(1) (default: -ef); what they choose is shown where it is in the container')
    .passThroughOptions()
    .action(async (rawName: string, options: string[]) => {
      requireRoot('top');
      const context = contextFrom(globals());
      const name = parseContainerName(rawName);
      await getContainer(context.roots, name);
      const ps = await readToolOutput(['ps', ...(options.length === 0 ? ['-ef'] : options)]);
      if (ps === undefined) throw missingTool('ps');
      if (ps.exitCode !== 0) throw new HostError(`cannot show processes of ${name}: ${firstLine(ps.stderr)}`);
      const pids = processesIn(cgroupOf(readInstance(context.roots) ?? '', name).payload);
      print(`${linesOf(pids, ps.stdout).join('\n')}\n`);
    });
};
