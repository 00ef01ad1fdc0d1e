/** The restart policy, as lines of the supervisor's script (supervisor.ts): it waits between one end and the next start. */
import { toolPath } from '../host/tool.ts';
import type { RestartSpec } from '../spec/restart.ts';

export interface Restarting {
  /** For the script. */
  readonly words: readonly string[];
}

/** `stopping` is a file that is there once somebody wants it to end. */
export function restarting({ policy, max = 0 }: RestartSpec, stopping: string): Restarting {
  return { words: [policy, String(max), stopping, toolPath('sleep')] };
}

/**
 * What is between an end and a start stands in the second line of the record, one over the other by one write, so that the file
 * does not grow: the first line is minict's (state/run-record.ts).
 */
export const RESTART_WORDS = `
minict_policy=$1 minict_max=$2 minict_stopping=$3 minict_sleep=$4; shift 4
minict_between() {
  { read -r minict_line; printf '%-48s\\n' "$1" >&0; } 0<>"$minict_record"
}
`;

/**
 * `once` runs the program, and sets $minict_status and $minict_now. The wait is 0.1 s, twice as long each time, up to a minute;
 * one that ran for ten seconds begins anew. What cannot be run (126, 127) will not be better the next time.
 */
export function restartLines(once: string): string {
  return `
minict_restarts=0 minict_tenths=1
while :; do
minict_now; minict_began=$minict_now
${once}
case $minict_status in 126|127) break;; esac
[ "$minict_policy" != on-failure ] || [ "$minict_status" -ne 0 ] || break
[ "$minict_max" -eq 0 ] || [ "$minict_restarts" -lt "$minict_max" ] || break
[ ! -e "$minict_stopping" ] || break
minict_between "failed $minict_status $minict_now $minict_restarts"
[ $((minict_now - minict_began)) -lt 10000 ] || minict_tenths=1
"$minict_sleep" "$((minict_tenths / 10)).$((minict_tenths % 10))" 5>&-
[ ! -e "$minict_stopping" ] || break
minict_tenths=$((minict_tenths * 2))
[ "$minict_tenths" -le 600 ] || minict_tenths=600
minict_restarts=$((minict_restarts + 1))
minict_now
minict_between "restarted $minict_now $minict_restarts"
minict_event restart
done
`;
}
