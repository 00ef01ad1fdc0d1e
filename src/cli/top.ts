/** minict top: the host's ps(1) about a container's processes. */
import { processesIn } from '../cgroup/processes.ts';
import { ConflictError, firstLine, HostError, InvalidInputError } from '../errors.ts';
import { missingTool } from '../host/tool.ts';
import { readToolOutput } from '../host/tool-output.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { isOwnProgram } from '../lifecycle/own-programs.ts';
import { cgroupOf } from '../lifecycle/status.ts';
import { parseContainerName } from '../spec/name.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, readInstance } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './verbs.ts';

/** In front of columns that the user chose: what is in those may have spaces. */
const OWN_COLUMN = { width: 20, name: 'MINICT' };

type Ps = NonNullable<Awaited<ReturnType<typeof readToolOutput>>>;

/** Throws HostError where there is none. */
async function ps(options: readonly string[]): Promise<Ps> {
  const output = await readToolOutput(['ps', ...options]);
  if (output === undefined) throw missingTool('ps');
  return output;
}

/** As one word of a command (execve(2), MAX_ARG_STRLEN). */
const MAX_LIST = 100_000;

/** Where `options` say nothing of which processes, ps takes those of its own user and terminal: so they are named, if it lets them. */
async function psOf(pids: ReadonlySet<string>, options: readonly string[]): Promise<Ps> {
  const list = [...pids].join(',');
  const named = list === '' || list.length > MAX_LIST ? undefined : await ps(['-q', list, ...options]);
  return named?.exitCode === 0 ? named : ps(options);
}

/** By a column of its own; undefined where the user has chosen none, so that ps has only this one, or refuses it. */
async function chosenColumns(pids: ReadonlySet<string>, options: readonly string[]): Promise<string[] | undefined> {
  const { width, name } = OWN_COLUMN;
  const { exitCode, stdout } = await psOf(pids, ['-o', `pid:${width}=${name}`, ...options]);
  const lines = stdout.split('\n').filter((line) => line !== '');
  const ownOf = (line: string) => line.slice(0, width).trim();
  const hasOwn = lines.every((line) => ownOf(line) === name || /^(\d+|-)$/.test(ownOf(line)));
  if (exitCode !== 0 || !hasOwn || lines.every((line) => line.length <= width)) return undefined;
  return lines
    .filter((line) => ownOf(line) === name || pids.has(ownOf(line)))
    .map((line) => line.slice(width + 1))
    .filter((line, index) => index > 0 || line.trim() !== '');
}

/** By the column of process ids, in a format of ps's own. Throws HostError, InvalidInputError. */
async function ownFormat(pids: ReadonlySet<string>, name: string, options: readonly string[]): Promise<string[]> {
  const { exitCode, stdout, stderr } = await psOf(pids, options);
  if (exitCode !== 0) throw new HostError(`cannot show processes of ${name}: ${firstLine(stderr)}`);
  const [header = '', ...lines] = stdout.trimEnd().split('\n');
  const column = header.trim().split(/\s+/).indexOf('PID');
  const pidOf = (line: string) => line.trim().split(/\s+/)[column] ?? '';
  const refuse = (why: string) => new InvalidInputError(`cannot show processes: ${why}`, { hint: '-o pid,…' });
  if (column === -1) throw refuse('what ps prints has no column PID');
  // Of threads ps has a dash there.
  if (!lines.every((line) => /^(\d+|-)$/.test(pidOf(line)))) throw refuse('a column before PID has spaces in it');
  return [header, ...lines.filter((line) => pids.has(pidOf(line)))];
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
      const spec = await getContainer(context.roots, name);
      if (readEnterRecord(containerPaths(context.roots, name)) === undefined) {
        throw new ConflictError(`cannot show processes of ${name}: it is stopped`, { hint: `minict start ${name}` });
      }
      const inGroup = processesIn(cgroupOf(readInstance(context.roots) ?? '', name).payload);
      const pids = new Set(inGroup.filter(isOwnProgram(spec)).map(String));
      const chosen = options.length === 0 ? undefined : await chosenColumns(pids, options);
      const lines = chosen ?? (await ownFormat(pids, name, options.length === 0 ? ['-ef'] : options));
      print(lines.map((line) => `${line}\n`).join(''));
    });
};
