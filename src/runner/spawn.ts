/** Child processes of plans: a bare spawn, since this is the hot path. argv arrays only, never a shell string. */
import { closeSync, writeFileSync } from 'node:fs';
import { inNetworkNamespace, netnsPath } from '../host/namespaces.ts';
import { openPipe } from '../host/syscalls.ts';
import { missingTool } from '../host/tool.ts';
import { sayCommand } from '../host/verbose.ts';

export interface Outcome {
  readonly exitCode: number;
  readonly stderr: string;
}

export interface SpawnContext {
  /** Descriptors of locks: a child that outlives a killed minict keeps the next one waiting. */
  readonly lockFds: readonly number[];
  readonly verbose: boolean;
  /** For the first of ip's batches on the host. */
  readonly begun?: BegunIp;
}

const IP_BATCH = ['ip', '-batch', '-'];

/** An `ip -batch -` that comes up while its lines are being made. Without any it does nothing: so, too, where minict is killed. */
export class BegunIp {
  private begun: { readonly child: ReturnType<typeof spawn>; readonly lines: number } | undefined;

  /** Throws HostError. */
  constructor({ lockFds }: Pick<SpawnContext, 'lockFds'>) {
    const { reading, writing } = openPipe();
    try {
      this.begun = { child: spawn(IP_BATCH, [reading, 'ignore', 'pipe', ...lockFds]), lines: writing };
    } catch (error) {
      closeSync(writing);
      throw error;
    } finally {
      closeSync(reading);
    }
  }

  /** Gives it its lines, once. */
  take(lines: string): ReturnType<typeof spawn> | undefined {
    const { begun } = this;
    this.begun = undefined;
    if (begun === undefined) return undefined;
    try {
      writeFileSync(begun.lines, lines);
    } catch (error) {
      // One that has ended before says by its status why.
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    } finally {
      closeSync(begun.lines);
    }
    return begun.child;
  }

  end(): void {
    this.take('');
  }
}

/**
 * Runs a host tool to its end; `stderr` is read only after a failure. Throws HostError where the tool is missing,
 * naming its package.
 */
export async function runTool(argv: readonly string[], context: SpawnContext, stdin?: string): Promise<Outcome> {
  if (context.verbose) sayCommand(argv, stdin);
  const child =
    begunFor(argv, context, stdin) ?? spawnTool(argv, [inputOf(stdin), 'ignore', 'pipe', ...context.lockFds]);
  const exitCode = await child.exited;
  const stderr = exitCode === 0 ? '' : await new Response(child.stderr as unknown as ReadableStream).text();
  return { exitCode, stderr };
}

function begunFor(argv: readonly string[], { begun }: SpawnContext, stdin: string | undefined) {
  return stdin !== undefined && argv.join(' ') === IP_BATCH.join(' ') ? begun?.take(stdin) : undefined;
}

function inputOf(stdin: string | undefined) {
  return stdin === undefined ? 'ignore' : Buffer.from(stdin);
}

/**
 * `ip -n NAME` makes a mount namespace and a sysfs of its own first, which takes as long as what it is there for. So its
 * namespace is entered here.
 */
function spawnTool(argv: readonly string[], stdio: unknown[]) {
  const [tool = '', option, name, ...words] = argv;
  if (tool !== 'ip' || option !== '-n') return spawn(argv, stdio);
  return inNetworkNamespace(netnsPath(name as string), () => spawn([tool, ...words], stdio));
}

let env: Record<string, string | undefined> | undefined;

/** What tools have as theirs. */
export function toolEnv(): Readonly<Record<string, string | undefined>> {
  env ??= { ...process.env, LC_ALL: 'C' };
  return env;
}

function spawn(argv: readonly string[], stdio: unknown[]) {
  try {
    return Bun.spawn([...argv], { stdio: stdio as never, env: toolEnv() });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw missingTool(argv[0] ?? '');
  }
}
