/**
 * The main command's supervisor: a waiting sh of about 0.3 MB PSS that records the exit status, in a cgroup of its own.
 * It outlives minict, so that nothing of minict's stays with a container. Where nobody is attached, what the program writes
 * goes through a pipe to a log's writer beside it, which keeps it within bounds.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { signalProcesses } from '../host/syscalls.ts';
import { toolPath } from '../host/tool.ts';
import { type AutoRemove, REMOVE_LINES, REMOVE_WORDS } from './auto-remove.ts';
import type { Run } from './enter.ts';
import { HEALTH_LINES, type HealthCheck } from './health.ts';
import { becomeLines, ENTER_CGROUP, enterLine } from './in-cgroup.ts';
import { type LogPipe, logEndLines, logWriterLines } from './log-writer.ts';
import { RESTART_WORDS, type Restarting, restartLines } from './restart.ts';
import { type EventBounds, eventLines, OOM_LINES, OOM_WORDS } from './supervisor-events.ts';

/**
 * Time without a process: minict says which one it was when it was so long since boot. Its variables are no program's.
 */
const NOW = `
minict_now() {
  read -r minict_up minict_idle </proc/uptime
  case $minict_up in 0.*) minict_up=1.00;; esac
  minict_now=$((minict_ms + (\${minict_up%.*}\${minict_up#*.} - minict_cs) * 10))
}
`;

/**
 * $0: its cgroup, $1: the record of its run, $2 and $3: a time and how long that is since boot, $4: the events, $5: the
 * container's name; what bounds of the events, a count of OOM kills, a restart policy, its removal, the log and a health check take; the
 * program's cgroup, then its PATH and words. A trap that does nothing is not handed on, as '' would be. What sh says of a program that a signal ended is none of the program's output. A
 * daemon may keep the log open: then its writer is not waited for.
 */
function script({ bounds, oomFile, log, restart, remove, health }: Supervision): string {
  const program = becomeLines(`${enterLine('$1')}; shift`);
  const [quiet, loud] =
    log === undefined ? ['exec 4>&2 2>/dev/null', 'exec 2>&4 4>&-'] : ['exec >/dev/null 2>&1', 'exec >&5 2>&1 5>&-'];
  const end = ['minict_status=$?', 'minict_now', ...(oomFile === undefined ? [] : [OOM_LINES])].join('\n');
  const once = `(${loud}; ${program})\n${end}\nminict_event die ",\\"exitCode\\":$minict_status"`;
  return `
${ENTER_CGROUP}
minict_record=$1 minict_ms=$2 minict_cs=$3 minict_events=$4 minict_name=$5; shift 5
${NOW}${eventLines(bounds)}${oomFile === undefined ? '' : OOM_WORDS}
trap : HUP INT QUIT TERM
${restart === undefined ? '' : RESTART_WORDS}
${remove === undefined ? '' : REMOVE_WORDS}
${log === undefined ? '' : logWriterLines(log)}
${quiet}
${health === undefined ? '' : HEALTH_LINES}
minict_payload=\${1%% *}
${restart === undefined ? once : restartLines(once)}
${health === undefined ? '' : 'kill "$minict_checker"'}
${log === undefined ? '' : logEndLines(log)}
echo "exited $minict_status $minict_now" >>"$minict_record"
${remove === undefined ? '' : REMOVE_LINES}
exit "$minict_status"
`;
}

export interface Supervision {
  readonly container: string;
  readonly cgroups: { readonly enterSupervisor: string; readonly enter: readonly string[] };
  /** File of its run (state/run-record.ts), and of all events. */
  readonly record: string;
  readonly events: string;
  /** Where it may append to them for long. */
  readonly bounds?: EventBounds | undefined;
  /** Of its group, where its memory is limited. */
  readonly oomFile?: string | undefined;
  readonly log?: LogPipe | undefined;
  readonly restart?: Restarting | undefined;
  readonly remove?: AutoRemove | undefined;
  readonly health?: HealthCheck | undefined;
}

/** Hundredths of a second since boot, sleep included. */
function bootTimeCs(): number {
  return Math.round(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 100);
}

export function supervised(supervision: Supervision, { argv, env }: Run): Run {
  const { container, cgroups, record, events, bounds, oomFile, log, restart, remove, health } = supervision;
  const { PATH = '', ...rest } = env;
  const time = [String(Date.now()), String(bootTimeCs())];
  const own = [cgroups.enterSupervisor, record, ...time, events, container];
  const told = [...(bounds?.words ?? []), ...(oomFile === undefined ? [] : [oomFile])];
  const asked = [
    ...told,
    ...(restart?.words ?? []),
    ...(remove?.words ?? []),
    ...(log?.words ?? []),
    ...(health?.words ?? []),
  ];
  const words = [...own, ...asked, cgroups.enter.join(' '), PATH, ...argv];
  return { argv: [toolPath('sh'), '-c', script(supervision), ...words], env: { ...rest, ...health?.env } };
}

const HANDED_ON = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;

/**
 * Signals to this process go to the supervisor's program, once there is one; those that this process was told to ignore
 * (nohup) do not. From a terminal the program gets INT and QUIT itself.
 */
export function handOnSignals(terminal: boolean, mainPid: () => number | undefined): void {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const ignored = BigInt(`0x${mask}`);
  for (const [name, number] of Object.entries(HANDED_ON) as [keyof typeof HANDED_ON, number][]) {
    if ((ignored >> BigInt(number - 1)) & 1n) continue;
    const itself = terminal && (name === 'SIGINT' || name === 'SIGQUIT');
    process.on(name, () => {
      if (!itself) signalMain(mainPid, name, performance.now() + IS_THERE_WITHIN_MS);
    });
  }
}

const RETRY_MS = 5;
/** A program is there by then; where none is, the signal is for who waits for it. */
const IS_THERE_WITHIN_MS = 2000;

/** Processes whose parent it is, and for which it has not waited while they are listed. Any of its threads may have forked them. */
export function childrenOf(pid: number): number[] {
  const lists = readdirSync(`/proc/${pid}/task`).map((tid) => `/proc/${pid}/task/${tid}/children`);
  return lists.flatMap((list) => readFileSync(list, 'utf8').split(' ').filter(Boolean).map(Number));
}

function signalMain(mainPid: () => number | undefined, signal: keyof typeof HANDED_ON, end: number): void {
  try {
    const pid = mainPid();
    if (pid !== undefined) signalProcesses([pid], [HANDED_ON[signal]], () => new Set([mainPid() ?? 0]));
    else if (performance.now() > end) process.exit(128 + HANDED_ON[signal]);
    else setTimeout(signalMain, RETRY_MS, mainPid, signal, end).unref();
  } catch (error) {
    if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}
