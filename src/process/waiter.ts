/**
 * A process in a PID namespace has its parent outside: nsenter(1), which hands no signal on and leaves its child behind when
 * it is killed. In its place a waiting sh forks the program, hands signals on, and gives its status.
 */
import { toolPath } from '../host/tool.ts';

/**
 * $0 is env(1). From a terminal the program gets INT and QUIT itself. VTALRM is what a killed caller leads to: nobody else
 * sends it. In the background a shell ignores INT and QUIT, and gives its child /dev/null: neither is to reach the program,
 * unless the caller ignored them. Its PATH is the program's, and its variables are no program's.
 */
const WAIT = `
minict_path=$PATH PATH=/usr/bin:/bin
while read -r minict_key minict_mask; do
  [ "$minict_key" != SigIgn: ] || break
done </proc/self/status
set -- "$@"
[ $((0x$minict_mask & 2)) -ne 0 ] || set -- --default-signal=INT "$@"
[ $((0x$minict_mask & 4)) -ne 0 ] || set -- --default-signal=QUIT "$@"
minict_pass() {
  [ -n "$!" ] || exit $((128 + $1))
  kill -s "$1" "$!"
}
trap 'minict_pass 1' HUP
trap 'minict_pass 10' USR1
trap 'minict_pass 12' USR2
trap 'minict_pass 15' TERM
trap 'minict_pass 9' VTALRM
if [ -t 0 ]; then trap : INT QUIT; else trap 'minict_pass 2' INT; trap 'minict_pass 3' QUIT; fi
unset PWD OLDPWD SHLVL
exec 3<&0 4>&2 2>/dev/null
PATH=$minict_path "$0" "$@" <&3 2>&4 3<&- 4>&- &
exec 4>&-
while :; do
  wait "$!"
  minict_status=$?
  kill -s 0 "$!" || exit "$minict_status"
done
`;

/** Forks what `argv` says, and waits. */
export function waiting(argv: readonly string[]): string[] {
  return [toolPath('sh'), '-c', WAIT, toolPath('env'), ...argv];
}

/** The same for a caller whose program is to end with it, even where it is killed: `argv` waits in turn. */
export function bound(argv: readonly string[]): string[] {
  return waiting([toolPath('setpriv'), '--pdeathsig', 'VTALRM', '--', ...argv]);
}
