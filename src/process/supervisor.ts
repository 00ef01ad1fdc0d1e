/**
 * The main command's supervisor: a waiting sh of about 0.3 MB PSS that records the exit status, in a cgroup of its own.
 * It outlives minict, so that nothing of minict's stays with a container.
 */
import { readFileSync } from 'node:fs';
import { toolPath } from '../host/tool.ts';
import { becomeLines, ENTER_CGROUP, enterLine, type Run } from './enter.ts';

/**
 * $0: its cgroup, $1: file for the status, $2: the program's cgroups, then its PATH and words. Its variables are no program's.
 * A trap that does nothing is not handed on, as '' would be. What sh says of a program that a signal ended is none of the
 * program's output.
 */
const SUPERVISOR = `
${ENTER_CGROUP}
minict_exit=$1; shift
trap : HUP INT QUIT TERM
exec 4>&2 2>/dev/null
(exec 2>&4 4>&-; ${becomeLines(`${enterLine('$1')}; shift`)}); minict_status=$?
echo "$minict_status" >"$minict_exit"
exit "$minict_status"
`;

export function supervised(
  cgroups: { readonly enterSupervisor: string; readonly enter: readonly string[] },
  exitFile: string,
  { argv, env }: Run,
): Run {
  const { PATH = '', ...rest } = env;
  const words = [cgroups.enterSupervisor, exitFile, cgroups.enter.join(' '), PATH, ...argv];
  return { argv: [toolPath('sh'), '-c', SUPERVISOR, ...words], env: rest };
}

const HANDED_ON = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;

/**
 * Signals to this process go to the supervisor's program, once there is one; those that this process was told to ignore
 * (nohup) do not. From a terminal the program gets INT and QUIT itself.
 */
export function handOnSignals(terminal: boolean, supervisorPid: () => number | undefined): void {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const ignored = BigInt(`0x${mask}`);
  for (const [name, number] of Object.entries(HANDED_ON) as [keyof typeof HANDED_ON, number][]) {
    if ((ignored >> BigInt(number - 1)) & 1n) continue;
    const itself = terminal && (name === 'SIGINT' || name === 'SIGQUIT');
    process.on(name, () => {
      if (!itself) signalChild(supervisorPid, name);
    });
  }
}

const RETRY_MS = 5;

/** Processes whose parent it is, and for which it has not waited while they are listed. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** The supervisor has one child. */
function signalChild(supervisorPid: () => number | undefined, signal: NodeJS.Signals): void {
  const pid = supervisorPid();
  try {
    const [child] = pid === undefined ? [] : childrenOf(pid);
    if (child !== undefined) process.kill(child, signal);
    else setTimeout(signalChild, RETRY_MS, supervisorPid, signal).unref();
  } catch (error) {
    if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}
