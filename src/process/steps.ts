/**
 * What minict does with a container's processes, as steps for a script: programs into it, and their end. minict itself
 * does the same by system calls.
 */
import { dirname } from 'node:path';
import { toolPath } from '../host/tool.ts';
import type { Step } from '../step.ts';
import type { Run } from './enter.ts';
import { inCgroup } from './in-cgroup.ts';

/** `argv` with just this environment. */
function cleanEnvArgv({ argv, env }: Run): string[] {
  return ['env', '-i', ...Object.entries(env).map(([key, value]) => `${key}=${value}`), ...argv];
}

/** A program in the container's cgroup; `argv` is how to get inside. */
export function planProgram(why: string, enter: readonly string[], program: Run): Step {
  const argv = cleanEnvArgv(inCgroup(enter, program, 'exec </dev/null'));
  return { id: why, why, run: { kind: 'run', argv } };
}

/** That leads to who writes a main command's log; a start before may have made it. */
export function planLogPipe(path: string): Step {
  const argv = ['sh', '-c', '[ -p "$0" ] || mkfifo -m 600 "$0"', path];
  return { id: 'log pipe', why: 'to who writes its log', run: { kind: 'run', argv } };
}

/** A main command that nobody is attached to. What forks its supervisor is in that one's cgroup, so a stop sees it. */
export function planSupervised(why: string, enterSupervisor: string, log: string, supervisor: Run): Step {
  const detach = [
    toolPath('setsid'),
    '--fork',
    toolPath('sh'),
    '-c',
    'exec >>"$0" 2>&1; exec "$@"',
    log,
    ...supervisor.argv,
  ];
  const argv = cleanEnvArgv(inCgroup([enterSupervisor], { argv: detach, env: supervisor.env }, 'exec </dev/null'));
  return { id: why, why, run: { kind: 'run', argv } };
}

const BEGIN_RUN = 'umask 077; echo "started $(date +%s%3N)" >"$0"';

/** The record of its run, as minict begins it (state/run-record.ts). */
export function planBeginRun(record: string): Step {
  const argv = ['sh', '-c', BEGIN_RUN, record];
  return { id: 'begin run', why: 'it has not ended', run: { kind: 'run', argv } };
}

const BEGIN_HEALTH = `umask 077; printf '%-48s\\n' "starting 0 $(date +%s%3N)" >"$0"`;

/** The record of its health, as minict begins it (state/health-record.ts). */
export function planBeginHealth(record: string): Step {
  const argv = ['sh', '-c', BEGIN_HEALTH, record];
  return { id: 'begin health', why: 'it was not checked yet', run: { kind: 'run', argv } };
}

/** A supervisor starts nothing again while the file `stopping` is there. */
export function planRestarts(stopping: string): Step {
  return { id: 'restarts', why: 'it is started again', run: { kind: 'run', argv: ['rm', '-f', '--', stopping] } };
}

/** Its folder is the run dir's, which a script does not make. */
export function planNoRestarts(stopping: string): Step {
  const argv = ['sh', '-c', '[ ! -d "$1" ] || : >"$0"', stopping, dirname(stopping)];
  return { id: 'no restarts', why: 'it is not started again', run: { kind: 'run', argv } };
}

const PIDS = 'pids() { find "$0" -name cgroup.procs -exec cat {} + 2>/dev/null; }';
const AWAIT_END = `
tenths=$1
while [ -n "$(pids)" ] && [ "$tenths" -gt 0 ]; do sleep 0.1; tenths=$((tenths - 1)); done
`;
const TERMINATE = `
${PIDS}
for pid in $(pids); do kill -s "$2" "$pid"; kill -s CONT "$pid"; done 2>/dev/null
${AWAIT_END}`;
const KILL = `
${PIDS}
[ ! -e "$0/cgroup.kill" ] || echo 1 >"$0/cgroup.kill"
while [ -n "$(pids)" ]; do
  for pid in $(pids); do kill -s KILL "$pid"; done 2>/dev/null
  sleep 0.01
done
`;

const tenths = (graceMs: number) => String(Math.ceil(graceMs / 100));

/** `signal`, a number, to every process, and a wait of `graceMs` at most. */
export function planTerminate(payload: string, graceMs: number, signal: number): Step {
  const argv = ['sh', '-c', TERMINATE, payload, tenths(graceMs), String(signal)];
  return { id: 'terminate', why: 'ask its processes to end', run: { kind: 'run', argv } };
}

/** NSpid of proc_pid_status(5): who is PID 1 of the guest's namespace, and of no other. */
const SHUT_DOWN = `
${PIDS}
for pid in $(pids); do
  while read -r key _ number more; do
    [ "$key $number $more" != "NSpid: 1 " ] || kill -s "$2" "$pid"
  done <"/proc/$pid/status"
done 2>/dev/null
${AWAIT_END}`;

/** `signal`, a number, to the init of a guest that boots, and a wait of `graceMs` at most. */
export function planShutDown(payload: string, graceMs: number, signal: number): Step {
  const argv = ['sh', '-c', SHUT_DOWN, payload, tenths(graceMs), String(signal)];
  return { id: 'shut down', why: 'ask its init to shut down', run: { kind: 'run', argv } };
}

/** The end of whatever still runs in the group. */
export function planKill(group: string): Step {
  return { id: `kill ${group}`, why: 'end what still runs', run: { kind: 'run', argv: ['sh', '-c', KILL, group] } };
}
