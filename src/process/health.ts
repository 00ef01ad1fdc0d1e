/** The health check, as lines of the supervisor's script (supervisor.ts): a subshell of it that sleeps between two checks. */
import { toolPath } from '../host/tool.ts';
import type { HealthSpec } from '../spec/health.ts';
import type { Run } from './enter.ts';
import { OCI_PROCESS } from './waiter.ts';

export interface HealthCheck {
  /** For the script. */
  readonly words: readonly string[];
  /** For its environment. */
  readonly env: Readonly<Record<string, string>>;
}

const seconds = (ms: number) => String(ms / 1000);

interface HealthFiles {
  /** Where the result is written. */
  readonly result: string;
  /** There while a check is under way; who lets a paused container go removes it before. */
  readonly asking: string;
}

/** In whose environment the process is that an OCI runtime takes for a check; the main command has its own. */
const CHECK_PROCESS = 'MINICT_CHECK';

/** Becomes the rest of its words. */
const AS_PROCESS = `export ${OCI_PROCESS}="$${CHECK_PROCESS}"; unset ${CHECK_PROCESS}; exec "$@"`;

/**
 * A check that takes too long is told to end, and killed a second later, with what it started. What is told to a runtime's
 * program is for who waits for that: it takes it along, as no process group does.
 */
function timed(timeoutMs: number, { argv, env }: Run): Pick<HealthCheck, 'words' | 'env'> {
  const timeout = (words: readonly string[]) => [toolPath('timeout'), ...words, '-k', '1', seconds(timeoutMs)];
  const process = env[OCI_PROCESS];
  if (process === undefined) return { words: [...timeout([]), ...argv], env: {} };
  const enter = [toolPath('sh'), '-c', AS_PROCESS, 'sh', ...argv];
  return { words: [...timeout(['--foreground', '-s', 'VTALRM']), ...enter], env: { [CHECK_PROCESS]: process } };
}

/** `freezer` says whether the container is paused; `program` leads inside, and checks. */
export function healthCheck(
  { intervalMs, timeoutMs, retries }: HealthSpec,
  { result, asking }: HealthFiles,
  freezer: { readonly file: string; readonly release: string },
  program: Run,
): HealthCheck {
  const { words, env } = timed(timeoutMs, program);
  const numbers = [seconds(intervalMs), String(retries), String(words.length)];
  const files = [result, asking, freezer.file, freezer.release];
  return { words: [...files, toolPath('sleep'), ...numbers, ...words], env };
}

/** The words of the check are the first of what is left; the program's come behind, and are given up here. */
const TAKE_WORDS = `
minict_rest=$(($# - minict_count))
while [ "$minict_count" -gt 0 ]; do set -- "$@" "$1"; shift; minict_count=$((minict_count - 1)); done
shift "$minict_rest"
`;

/** As proc_pid_comm(5) has it: 15 bytes at most. */
const CHECKER = 'minict-health';

/**
 * Sets $minict_checker. It has a name of its own, as no supervisor is it; a killed supervisor's one ends by itself. What a check
 * says is nobody's. One that fails does not count where the container was paused meanwhile.
 */
export const HEALTH_LINES = `
minict_health=$1 minict_asking=$2 minict_freezer=$3 minict_released=$4 minict_nap=$5; shift 5
minict_interval=$1 minict_retries=$2 minict_count=$3; shift 3
(
minict_main=$$
exec </dev/null >/dev/null 2>&1 4>&- 5>&-
printf ${CHECKER} >/proc/self/comm
minict_waiting=
minict_is_held() {
  read -r minict_held <"$minict_freezer"
  [ "$minict_held" != "$minict_released" ]
}
trap '[ -z "$minict_waiting" ] || kill "$minict_waiting" 2>/dev/null; exit' TERM
${TAKE_WORDS}
minict_failures=0 minict_was=starting
while :; do
  "$minict_nap" "$minict_interval" & minict_waiting=$!
  wait "$minict_waiting"
  minict_waiting=
  read -r minict_pid minict_name_of minict_state minict_parent minict_more </proc/self/stat
  [ "$minict_parent" = "$minict_main" ] || exit
  printf '' >"$minict_asking"
  ! minict_is_held || continue
  "$@" & minict_waiting=$!
  if wait "$minict_waiting"; then
    minict_failures=0
  else
    ! minict_is_held && [ -e "$minict_asking" ] || { minict_waiting=; continue; }
    minict_failures=$((minict_failures + 1))
  fi
  minict_waiting=
  minict_is=$minict_was
  [ "$minict_failures" -gt 0 ] || minict_is=healthy
  [ "$minict_failures" -lt "$minict_retries" ] || minict_is=unhealthy
  minict_now
  printf '%-48s\\n' "$minict_is $minict_failures $minict_now" 1<>"$minict_health"
  [ "$minict_is" = "$minict_was" ] || minict_event health_status ",\\"health\\":\\"$minict_is\\""
  minict_was=$minict_is
done
) & minict_checker=$!
shift "$minict_count"
`;
