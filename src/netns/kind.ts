/**
 * A kind of network settings: how it is read from a namespace, as lines that the tool which makes it takes again, and what
 * leads from the lines of now to those of then. What is derived by the kernel itself is not in there.
 */
import { firstLine, HostError } from '../errors.ts';
import { missingTool } from '../host/tool.ts';
import { readToolOutput } from '../host/tool-output.ts';
import type { Step } from '../step.ts';
import type { Asked } from './bursts.ts';

export interface NetnsPlace {
  /** `ip -n NAME`. */
  readonly netns: string;
  /** `nsenter --net=FILE`. */
  readonly file: string;
}

export type Lines = readonly string[];

export interface Kind {
  /** Of its file, too. */
  readonly name: string;
  /** Throws HostError. */
  readonly read: (place: NetnsPlace) => Promise<Lines>;
  /** One thing may need another one that comes later: it is asked again until nothing differs. */
  readonly restore: (way: WayBack, then: Lines, now: Lines) => Step[];
}

export interface WayBack extends NetnsPlace {
  /** Of the snapshot: a file of each kind, by its name. */
  readonly folder: string;
  /** Kept from one time to the next. */
  readonly asked: Asked;
}

/** What a tool says in the namespace. Throws HostError. */
export async function readIn({ netns, file }: NetnsPlace, argv: Lines): Promise<string> {
  const [tool = '', ...words] = argv;
  const enter = tool === 'ip' || tool === 'tc' ? [tool, '-n', netns, ...words] : ['nsenter', `--net=${file}`, ...argv];
  if (Bun.which(tool) === null) throw missingTool(tool);
  const output = await readToolOutput(enter);
  if (output?.exitCode === 0) return output.stdout;
  throw new HostError(
    `cannot read ${argv.join(' ')} of ${netns}: ${firstLine(output?.stderr ?? '') || `${tool} failed`}`,
  );
}

export function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
}

/** A step whose words are a line of ip(8) or tc(8), as their -batch takes it. */
export function toolStep({ netns }: NetnsPlace, tool: 'ip' | 'tc', why: string, line: string): Step {
  const words = (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'(.*)'$/, '$1'));
  const argv = tool === 'ip' ? [tool, ...words] : [tool, '-n', netns, ...words];
  return { id: line, why, run: { kind: 'run', argv, ...(tool === 'ip' ? { netns } : {}) } };
}

export function without(lines: Lines, others: Lines): string[] {
  const known = new Set(others);
  return lines.filter((line) => !known.has(line));
}

/** Lines that have no order: those too many go first, as they may be in the way of others. */
export function restoreSet(
  place: NetnsPlace,
  why: string,
  then: Lines,
  now: Lines,
  removal: (line: string) => string,
): Step[] {
  return [
    ...without(now, then).map((line) => toolStep(place, 'ip', `${why} that was not there`, removal(line))),
    ...without(then, now).map((line) => toolStep(place, 'ip', why, line)),
  ];
}
