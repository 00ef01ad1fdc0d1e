/**
 * A process in a PID namespace has its parent outside: nsenter(1), which hands no signal on and leaves its child behind when
 * it is killed. In its place a waiting sh forks the program, hands signals on, and gives its status.
 */
import { toolPath } from '../host/tool.ts';

/** Where an OCI runtime finds its process, and writes what it says for itself, as descriptors. */
export const OCI_PROCESS_FILE = '/proc/self/fd/5';
export const OCI_LOG_FILE = '/proc/self/fd/6';
/** In whose environment the process is: not for all to see, as words of a command are. */
export const OCI_PROCESS = 'MINICT_PROCESS';

interface Waiter {
  readonly begin: string;
  /** What a killed caller leads to, of the program `$!`. */
  readonly kill: string;
  /** With `$minict_status`. */
  readonly end: string;
}

/** Fields of proc_pid_stat(5) before the mask of ignored signals. A shell reads byte for byte: `status` takes it half a millisecond. */
const BEFORE_IGNORED = 'minict_x '.repeat(32).trimEnd();

/** In place of a shell's own word where fork(2) fails, which makes it end with 2. */
const CANNOT_FORK = `printf "%s\\n" \
  "minict: cannot run the program: no process can be made in the container" \
  "hint: where it is at its limit of processes: minict update NAME --pids-limit N"`;

/**
 * $0 is env(1). From a terminal the program gets INT and QUIT itself. VTALRM is what a killed caller leads to: nobody else
 * sends it. In the background a shell ignores INT and QUIT, and gives its child /dev/null: neither is to reach the program,
 * unless the caller ignored them. Its PATH is the program's, and its variables are no program's.
 */
const script = ({ begin, kill, end }: Waiter) => `
minict_path=$PATH PATH=/usr/bin:/bin
read -r ${BEFORE_IGNORED} minict_mask minict_x </proc/self/stat
${begin}
[ $((minict_mask & 2)) -ne 0 ] || set -- --default-signal=INT "$@"
[ $((minict_mask & 4)) -ne 0 ] || set -- --default-signal=QUIT "$@"
minict_pass() {
  [ -n "$!" ] || exit $((128 + $1))
  kill -s "$1" "$!"
}
minict_kill() {
  [ -n "$!" ] || exit 137
  ${kill}
}
trap 'minict_pass 1' HUP
trap 'minict_pass 10' USR1
trap 'minict_pass 12' USR2
trap 'minict_pass 15' TERM
trap minict_kill VTALRM
if [ -t 0 ]; then trap : INT QUIT; else trap 'minict_pass 2' INT; trap 'minict_pass 3' QUIT; fi
unset PWD OLDPWD SHLVL
exec 3<&0 4>&2 2>/dev/null
trap '[ "$?" -ne 2 ] || [ -n "$!" ] || { ${CANNOT_FORK} >&4; exit 125; }' EXIT
PATH=$minict_path "$0" "$@" <&3 2>&4 3<&- 4>&- &
exec 4>&-
while :; do
  wait "$!"
  minict_status=$?
  kill -s 0 "$!" || break
done
${end}
exit "$minict_status"
`;

const WAIT = script({ begin: ':', kill: 'kill -s KILL "$!"', end: ':' });

/**
 * Such a runtime forks the program, and hands signals on. It has 255 where it could not run it; why is in its log alone: a pipe
 * of which this shell has the end that is read, and which the runtime opens for itself.
 */
const WAIT_FOR_OCI = script({
  begin: `
exec 6<<MINICT_END
MINICT_END
exec 5<<MINICT_END
$${OCI_PROCESS}
MINICT_END
unset ${OCI_PROCESS}
minict_group_of() {
  while read -r minict_key minict_value minict_inside; do
    [ "$minict_key" != NSpgid: ] || echo "$minict_value"
  done <"/proc/$1/status"
}`,
  kill: `
  minict_own=$(minict_group_of $$)
  # Any of its threads may have forked it.
  for minict_thread in /proc/$!/task/*/children; do
    read -r minict_children <"$minict_thread"
    for minict_child in $minict_children; do
      # With what it started, where it is in a group of its own.
      minict_group=$(minict_group_of "$minict_child")
      [ "\${minict_group:-$minict_own}" = "$minict_own" ] || kill -s KILL -- "-$minict_group"
      kill -s KILL "$minict_child"
    done
  done
  kill -s KILL "$!"`,
  end: `
[ "$minict_status" -ne 255 ] || while read -r minict_line; do case $minict_line in
  *level=warning*) ;;
  *"chdir "*) exit 126 ;;
  *"not found"* | *"o such file"*) exit 127 ;;
  *) exit 126 ;;
esac; done <&6`,
});

/** Forks what `argv` says, and waits. */
export function waiting(argv: readonly string[]): string[] {
  return [toolPath('sh'), '-c', WAIT, toolPath('env'), ...argv];
}

/** What `argv` says is the runtime's. */
export function waitingForOci(argv: readonly string[]): string[] {
  return [toolPath('sh'), '-c', WAIT_FOR_OCI, toolPath('env'), ...argv];
}

/** The same for a caller whose program is to end with it, even where it is killed: `argv` waits in turn. */
export function bound(argv: readonly string[]): string[] {
  return waiting([toolPath('setpriv'), '--pdeathsig', 'VTALRM', '--', ...argv]);
}
