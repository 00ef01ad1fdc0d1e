/** Becoming a container's program, or leaving one behind. This process is in the payload cgroup already. */
import { closeSync, openSync } from 'node:fs';
import { HostError } from '../errors.ts';

function absolute(tool: string): string {
  const path = Bun.which(tool);
  if (path === null)
    throw new HostError(`cannot run ${tool}: not found in PATH`, { hint: 'apt-get install util-linux' });
  return path;
}

/** execve: terminal, signals and exit status are the kernel's business from here on. Does not return. */
export function becomeProgram(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  withStdin: boolean,
  prepare: (softFileLimit: number) => void,
): never {
  const tool = absolute(argv[0] ?? '');
  if (!withStdin) {
    // open(2) takes the lowest free number: this is descriptor 0 again.
    closeSync(0);
    openSync('/dev/null', 'r');
  }
  process.umask(0o022);
  prepare(1024);
  const execve = (process as unknown as { execve(path: string, argv: readonly string[], env: object): never }).execve;
  return execve.call(process, tool, argv, env);
}

/** A session of its own, its output nowhere. */
export function spawnDetached(argv: readonly string[], env: Readonly<Record<string, string>>): void {
  const tool = absolute(argv[0] ?? '');
  const child = Bun.spawn([tool, ...argv.slice(1)], { stdio: ['ignore', 'ignore', 'ignore'], env, detached: true });
  child.unref();
}
