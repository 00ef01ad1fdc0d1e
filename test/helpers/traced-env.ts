/** The environment that the host's own tools get on the way into a container, as execve(2) gets it. */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Host, MINICT, type Result } from './host.ts';

export interface TracedExec {
  readonly tool: string;
  /** Its strings as strace(1) escapes them. */
  readonly env: readonly string[];
}

/** minict, and what it starts, until all have ended. */
export function traceTools(host: Host, ...words: string[]): Result & { readonly execs: readonly TracedExec[] } {
  const dir = mkdtempSync(join(host.dir, 'trace-'));
  const strace = ['strace', '-ff', '-v', '-s', '65536', '-e', 'trace=execve', '-o', join(dir, 'trace')];
  const result = host.run([...strace, MINICT, ...words]);
  const lines = readdirSync(dir).flatMap((name) => readFileSync(join(dir, name), 'utf8').split('\n'));
  const execs = lines.flatMap((line) => {
    const [, path = '', argv = '', env = ''] = /^execve\("([^"]*)", \[(.*)\], \[(.*)\]\) += 0$/.exec(line) ?? [];
    // Behind chroot there is the container's own program.
    if (!/"([^"]*\/)?(nsenter|chroot)"/.test(argv)) return [];
    return [{ tool: path.split('/').at(-1) ?? '', env: env.split('", "').map((entry) => entry.replace(/^"|"$/g, '')) }];
  });
  return { ...result, execs };
}
