/**
 * Faults on purpose, at every point of a verb: at its k-th host command (a folder of tools, first in PATH, that count their
 * calls and are the real ones otherwise), and before its k-th system call of a kind (strace(1) kills).
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, type Host, MINICT, type Result } from './host.ts';

/** What happens at the k-th host command, as shell; `$REAL` is the tool, `$MINICT_PID` who called, or its ancestor. */
const FAULTS = {
  'fails before it does anything': 'echo injected >&2; exit 1',
  'fails when it has done its work': '"$REAL" "$@"; echo injected >&2; exit 1',
  'goes on while minict is killed': 'kill -9 "$MINICT_PID"; exec "$REAL" "$@"',
  'is killed together with minict': 'kill -9 "$MINICT_PID" $$',
} as const;

export type Fault = keyof typeof FAULTS;

export const FAILURES: readonly Fault[] = ['fails before it does anything', 'fails when it has done its work'];
export const KILLS: readonly Fault[] = ['goes on while minict is killed', 'is killed together with minict'];

const TOOLS = [
  ...['unshare', 'ip', 'mount', 'umount', 'nsenter', 'sh', 'setsid', 'rm', 'nft'],
  ...['bridge', 'ethtool', 'ovs-vsctl', 'ovs-appctl', 'ovs-dpctl'],
  ...['skopeo', 'tar', 'gzip', 'find', 'cat', 'cp', 'mv', 'ln', 'btrfs'],
];

function writeTools(dir: string): void {
  mkdirSync(dir);
  for (const tool of TOOLS) {
    const cases = Object.entries(FAULTS).map(([fault, action]) => `'${fault}') ${action} ;;`);
    // Made exclusively, so that two at once have different numbers; `command`, or a failure would end the shell.
    const script = `#!/bin/sh
REAL=${Bun.which(tool) ?? '/bin/false'}
# A container's program has its own environment: what it runs is no host command of the verb's.
[ -n "$CALLS" ] || exec "$REAL" "$@"
k=1
set -C
until command : >"$CALLS/$k"; do k=$((k + 1)); done 2>/dev/null
set +C
echo ${tool} >"$CALLS/$k"
[ "$k" = "$FAULT_AT" ] || exec "$REAL" "$@"
case $FAULT in
${cases.join('\n')}
esac
`;
    writeFileSync(join(dir, tool), script, { mode: 0o755 });
  }
}

export interface Faulty extends Result {
  /** The tool that met the fault; undefined where the verb was through before. */
  readonly tool: string | undefined;
}

/** For who is to have these tools, and leaves what it called in the folder `CALLS`. */
function toolsEnv(host: Host) {
  const tools = join(host.dir, 'tools');
  if (!existsSync(tools)) writeTools(tools);
  return { PATH: `${tools}:${process.env.PATH}`, CALLS: mkdtempSync(join(host.dir, 'calls-')) };
}

/** minict with a fault at its k-th host command. */
export function runWithFault(host: Host, words: readonly string[], fault: Fault, k: number): Faulty {
  const env = { ...toolsEnv(host), FAULT: fault, FAULT_AT: String(k) };
  const calls = env.CALLS;
  const result = host.run(['/bin/sh', '-c', 'MINICT_PID=$$ exec "$0" "$@"', MINICT, ...words], env);
  const met = join(calls, String(k));
  return { ...result, tool: existsSync(met) ? readFileSync(met, 'utf8').trim() : undefined };
}

/** The calls by which minict itself changes something, but fsync(2) and the like, which make no state that could be left. */
export const CHANGING_CALLS = [
  ...(['mkdir', 'write', 'pwrite64', 'rename', 'link', 'unlink', 'unlinkat', 'rmdir'] as const),
  ...(['unshare', 'sethostname', 'mount', 'umount2', 'sendto'] as const),
];

const KILLED = 128 + 9;

/** minict, killed before its k-th `call`; false where it had fewer and came to its end. */
export function killBefore(host: Host, words: readonly string[], call: string, k: number): boolean {
  const inject = `inject=?${call}:signal=SIGKILL:when=${k}`;
  return host.run(['strace', '-o', '/dev/null', '-e', inject, MINICT, ...words]).status === KILLED;
}

/** minict, held still where its first `call` about the file `path` is done; what is returned lets it go on, to its end. */
export async function heldAfter(
  host: Host,
  words: readonly string[],
  call: string,
  path: string,
): Promise<() => Promise<Result>> {
  const trace = join(mkdtempSync(join(host.dir, 'trace-')), 'calls');
  const inject = `inject=${call}:signal=SIGSTOP:when=1`;
  const child = host.spawn(['strace', '-o', trace, '-P', path, '-e', inject, MINICT, ...words]);
  const isHeld = () => existsSync(trace) && readFileSync(trace, 'utf8').includes('stopped by SIGSTOP');
  if (!(await eventually(isHeld))) throw new Error(`minict ${words.join(' ')} came to no ${call} of ${path}`);
  return async () => {
    process.kill(Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')), 'SIGCONT');
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { status: await child.exited, stdout, stderr };
  };
}

/**
 * minict, and its tools unless `alone`, for which the kernel refuses system calls of a kind: all, the k-th, or `1..3`. With the
 * tools that were called.
 */
export function runRefused(
  host: Host,
  words: readonly string[],
  call: string,
  { k, alone, error = 'EPERM' }: { k?: number | string; alone?: true; error?: 'EPERM' | 'EBUSY' },
): Result & { readonly tools: readonly string[] } {
  const inject = `inject=${call}:error=${error}${k === undefined ? '' : `:when=${k}`}`;
  const env = { ...toolsEnv(host), FAULT: '', FAULT_AT: '' };
  const strace = ['strace', ...(alone ? [] : ['-f']), '-o', '/dev/null', '-e', inject];
  const result = host.run([...strace, MINICT, ...words], env);
  const tools = readdirSync(env.CALLS).map((number) => readFileSync(join(env.CALLS, number), 'utf8').trim());
  return { ...result, tools: tools.sort() };
}
