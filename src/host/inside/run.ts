/** Host tools in a network namespace: its interfaces and settings, with the host's programs and files. Reads only. */
import type * as z from 'zod/mini';
import { firstLine, HostError } from '../../errors.ts';
import { missingTool } from '../tool.ts';
import { readToolOutput, type ToolOutput } from '../tool-output.ts';
import { sayCommand } from '../verbose.ts';

/** A network namespace by its file; this process's own without one. */
export interface Inside {
  readonly netns: string | undefined;
  /** Says what is sent into the network. */
  readonly verbose: boolean;
}

export function insideArgv({ netns }: Inside, argv: readonly string[]): string[] {
  return netns === undefined ? [...argv] : ['nsenter', `--net=${netns}`, '--', ...argv];
}

/** Throws HostError where nsenter is missing; undefined where the tool itself is. */
export async function readInside(inside: Inside, argv: readonly string[]): Promise<ToolOutput | undefined> {
  if (Bun.which(argv[0] ?? '') === null) return undefined;
  const output = await readToolOutput(insideArgv(inside, argv));
  if (output === undefined) throw missingTool('nsenter');
  return output;
}

/** What is sent, and not only read, is said with `--verbose`. */
export async function sendInside(inside: Inside, argv: readonly string[]): Promise<ToolOutput> {
  const words = insideArgv(inside, argv);
  if (inside.verbose) sayCommand(words);
  const output = await readToolOutput(words);
  if (output === undefined) throw missingTool(words[0] ?? '');
  return output;
}

/** What a tool says as JSON; undefined where it fails. Throws HostError where it is missing. */
export async function readJsonInside(inside: Inside, argv: readonly string[]): Promise<unknown> {
  const output = await readInside(inside, argv);
  if (output === undefined) throw missingTool(argv[0] ?? '');
  return output.exitCode === 0 ? JSON.parse(output.stdout || '[]') : undefined;
}

/** As `schema` has it: `what` the tool says as JSON. Throws HostError. */
export async function requireJsonInside<T>(
  inside: Inside,
  what: string,
  argv: readonly string[],
  schema: z.ZodMiniType<T>,
): Promise<T> {
  const output = await readInside(inside, argv);
  if (output === undefined) throw missingTool(argv[0] ?? '');
  const parsed = schema.safeParse(output.exitCode === 0 ? JSON.parse(output.stdout || '[]') : undefined);
  if (parsed.success) return parsed.data;
  const cause = firstLine(output.stderr) || `${argv[0]} says something else`;
  throw new HostError(`cannot read ${what} in ${inside.netns ?? 'the host'}: ${cause}`);
}
