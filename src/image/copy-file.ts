/** Copies by a child process, which goes on with it, and tells so by a lock, when minict is killed. */
import { firstLine, HostError } from '../errors.ts';

/** A file, or where one is `-` the standard input or output. Throws HostError. */
export async function copyFile(verb: string, from: string, to: string, lockFd: number): Promise<void> {
  const argv = from === '-' || to === '-' ? ['cat', '--', from] : ['cp', '--', from, to];
  const child = Bun.spawn(argv, {
    stdio: [from === '-' ? 0 : 'ignore', from === '-' ? Bun.file(to) : 1, 'pipe', lockFd],
  });
  const said = await new Response(child.stderr as ReadableStream).text();
  if ((await child.exited) === 0) return;
  if (child.signalCode === 'SIGPIPE') throw new HostError(`cannot ${verb}: whoever read it from stdout has gone`);
  throw new HostError(`cannot ${verb}: ${firstLine(said)}`);
}
