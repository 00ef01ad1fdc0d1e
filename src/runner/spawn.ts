/** Child processes of plans: a bare spawn, since this is the hot path. argv arrays only, never a shell string. */
import { inNetworkNamespace, netnsPath } from '../host/namespaces.ts';
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
}

/**
 * Runs a host tool to its end; `stderr` is read only after a failure. Throws HostError where the tool is missing,
 * naming its package.
 */
export async function runTool(argv: readonly string[], context: SpawnContext, stdin?: string): Promise<Outcome> {
  if (context.verbose) sayCommand(argv, stdin);
  const input = stdin === undefined ? ('ignore' as const) : Buffer.from(stdin);
  return outcomeOf(spawnTool(argv, [input, 'ignore', 'pipe', ...context.lockFds]));
}

/** A host tool that has been started, and waits for what it is to do. */
export interface WaitingTool {
  /** Tells it, and waits for its end. */
  run(): Promise<Outcome>;
  /** It ends without having done anything: as it does where minict is killed. */
  drop(): Promise<void>;
}

/** To load its libraries takes as long as its work. Undefined where it cannot be started yet, or at all. */
export function startWaiting(argv: readonly string[], context: SpawnContext, stdin: string): WaitingTool | undefined {
  let child: ReturnType<typeof spawnTool>;
  try {
    child = spawnTool(argv, ['pipe', 'ignore', 'pipe', ...context.lockFds]);
  } catch {
    // Who runs it in its turn meets the same again.
    return undefined;
  }
  const input = child.stdin as unknown as Bun.FileSink;
  // Who has ended by then says why with its exit status.
  const end = async (text = '') => {
    try {
      input.write(text);
      await input.end();
    } catch {}
  };
  return {
    run() {
      if (context.verbose) sayCommand(argv, stdin);
      void end(stdin);
      return outcomeOf(child);
    },
    async drop() {
      await end();
      await child.exited;
    },
  };
}

async function outcomeOf(child: ReturnType<typeof spawn>): Promise<Outcome> {
  const exitCode = await child.exited;
  const stderr = exitCode === 0 ? '' : await new Response(child.stderr as unknown as ReadableStream).text();
  return { exitCode, stderr };
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

let toolEnv: Record<string, string | undefined> | undefined;

function spawn(argv: readonly string[], stdio: unknown[]) {
  try {
    toolEnv ??= { ...process.env, LC_ALL: 'C' };
    return Bun.spawn([...argv], { stdio: stdio as never, env: toolEnv });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw missingTool(argv[0] ?? '');
  }
}
