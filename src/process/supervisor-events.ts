/** What a supervisor tells of its program, as lines of its script (supervisor.ts): events, which it keeps within bounds. */
import { toolPath } from '../host/tool.ts';

/** Where a supervisor that goes on for long, by a restart policy or a health check, bounds what it appends to. */
export interface EventBounds {
  /** For the script. */
  readonly words: readonly string[];
}

/** `lock` is what whoever renames the file holds (state/events.ts). */
export function eventBounds(lock: string): EventBounds {
  return { words: [lock, toolPath('flock'), toolPath('find'), toolPath('mv')] };
}

/** A line by one write: of those who append at a time nobody's is torn. */
const APPEND = `
  printf '{"time":%s,"type":"container","action":"%s","name":"%s"%s}\\n' \
    "$minict_now" "$1" "$minict_name" "$2" >>"$minict_events"
`;

/** A new file is for root alone; the program has a umask of its own. A look at the file is a process: so one in a while, by each supervisor. */
const BETWEEN_LOOKS = 32;

const BOUNDED = `
minict_lock=$1 minict_flock=$2 minict_find=$3 minict_mv=$4; shift 4
minict_told=0
umask 077
minict_event() {${APPEND}
  minict_told=$((minict_told + 1))
  [ "$minict_told" -ge ${BETWEEN_LOOKS} ] || return 0
  minict_told=0
  "$minict_flock" -n "$minict_lock" "$minict_find" "$minict_events" -maxdepth 0 -size +1024k \
    -exec "$minict_mv" -f -- '{}' '{}.1' ';'
}
`;

const UNBOUNDED = `
minict_event() {${APPEND}}
`;

/** `minict_event ACTION MORE`, at $minict_now. */
export function eventLines(bounds: EventBounds | undefined): string {
  return bounds === undefined ? UNBOUNDED : BOUNDED;
}

/** Of a program whose memory is limited: how many processes the kernel has killed for it, as its group counts. */
export const OOM_WORDS = `
minict_oom=$1; shift
minict_count_oom() {
  while read -r minict_key minict_value; do
    [ "$minict_key" != oom_kill ] || minict_kills=$minict_value
  done <"$minict_oom"
}
minict_kills=0
minict_count_oom
minict_killed=$minict_kills
`;

/** At an end of the program, with $minict_now. */
export const OOM_LINES = `minict_count_oom
[ "$minict_kills" -eq "$minict_killed" ] || minict_event oom ",\\"oomKills\\":$minict_kills"
minict_killed=$minict_kills`;
