/**
 * Programs that a build runs: each alone with what it starts and mounts, so that all of it ends with minict, whatever ends
 * that. Nothing is left in the host's process or mount table.
 */
import { execa } from 'execa';
import { HostError } from '../errors.ts';
import { missingTool } from '../host/tool.ts';

/** It dies with minict, and what it mounts with it. */
export const OWN_MOUNTS = ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--propagation', 'private'];

/** The processes that it leaves behind end with it, too; it cannot change the host's name. */
const ALONE = [...OWN_MOUNTS, '--uts', '--ipc', '--pid', '--fork', '--kill-child', '--mount-proc', '--'];

const TAIL_BYTES = 4096;
const TAIL_LINES = 10;

export interface ToolOptions {
  /** Keeps others off the folder that it writes into. */
  readonly lockFd: number;
  /** All it says goes to stderr, as it says it. */
  readonly progress: boolean;
  readonly cwd?: string;
  /** Besides minict's own. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** The last lines of what it says. */
async function tailOf(stream: AsyncIterable<Uint8Array>): Promise<string[]> {
  let tail = Buffer.alloc(0);
  for await (const piece of stream) tail = Buffer.concat([tail, piece]).subarray(-TAIL_BYTES);
  return tail
    .toString()
    .split(/[\r\n]+/)
    .filter((line) => line.trim() !== '')
    .slice(-TAIL_LINES);
}

/** Of a tool's last lines: a full disk, or what the tool itself calls an error. */
function causeOf(lines: readonly string[]): string | undefined {
  const full = lines.find((line) => /no space left on device/i.test(line));
  return full ?? lines.findLast((line) => /^E(rror)?: /.test(line))?.replace(/^E(rror)?: /, '');
}

/** Runs it to its end. Throws HostError with its last lines. */
export async function runBuildTool(verb: string, argv: readonly string[], options: ToolOptions): Promise<void> {
  const { lockFd, progress, cwd, env } = options;
  const missing = ['setpriv', 'unshare'].find((tool) => Bun.which(tool) === null);
  if (missing !== undefined) throw missingTool(missing);
  const [file = '', ...words] = [...ALONE, ...argv];
  const output = progress ? 2 : 'pipe';
  const child = execa(file, words, {
    // execa's types know descriptors up to 9; it hands on any.
    stdio: ['ignore', output, output, lockFd as 3],
    all: true,
    buffer: false,
    reject: false,
    // Packages' scripts ask nothing.
    env: { ...env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    ...(cwd === undefined ? {} : { cwd }),
  });
  const lines = child.all === undefined ? [] : await tailOf(child.all);
  const { failed, exitCode, signal } = await child;
  if (!failed) return;
  const cause = causeOf(lines) ?? (signal === undefined ? `exit status ${exitCode}` : `ended by ${signal}`);
  throw new HostError(`cannot ${verb}: ${cause}${progress ? ', see above' : ''}`, { details: lines.join('\n') });
}
