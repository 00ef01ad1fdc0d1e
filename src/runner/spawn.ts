/** Child processes of plans: a bare spawn, since this is the hot path. argv arrays only, never a shell string. */
import { HostError } from '../errors.ts';

export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface SpawnContext {
  /** The lock's descriptor: a child that outlives a killed minict keeps the next one waiting. */
  readonly lockFd?: number | undefined;
  readonly verbose: boolean;
}

const PACKAGES: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  mount: 'mount',
  umount: 'mount',
  chroot: 'coreutils',
};

/** Runs a host tool to its end. Throws HostError where the tool is missing, naming its package. */
export async function runTool(argv: readonly string[], context: SpawnContext, stdin?: string): Promise<Outcome> {
  if (context.verbose) {
    process.stderr.write(`+ ${argv.join(' ')}${stdin === undefined ? '' : ` <<EOF\n${stdin}EOF`}\n`);
  }
  const tool = argv[0] ?? '';
  if (Bun.which(tool) === null) {
    const name = PACKAGES[tool];
    throw new HostError(`cannot run ${tool}: not found in PATH`, name ? { hint: `apt-get install ${name}` } : {});
  }
  const stdio: (Uint8Array | 'ignore' | 'pipe' | number)[] = [
    stdin === undefined ? 'ignore' : new TextEncoder().encode(stdin),
    'pipe',
    'pipe',
  ];
  if (context.lockFd !== undefined) stdio.push(context.lockFd);
  const child = Bun.spawn([...argv], { stdio: stdio as never, env: { ...process.env, LC_ALL: 'C' } });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout as unknown as ReadableStream).text(),
    new Response(child.stderr as unknown as ReadableStream).text(),
  ]);
  return { exitCode: await child.exited, stdout, stderr };
}
