/**
 * Who writes the log of a main command that nobody is attached to, and keeps it within bounds: coreutils' split, which hands
 * each part on to a cat, or runit's svlogd, which gives each line its time. Both read a pipe, and sleep while nothing comes;
 * the program waits for them where it is quicker. Lines of a script of the supervisor's.
 */
import { join } from 'node:path';
import { toolPath } from '../host/tool.ts';
import { DEFAULT_LOG, type LogSpec } from '../spec/log.ts';
import { enterLine } from './in-cgroup.ts';

export interface LogPipe {
  readonly timestamps: boolean;
  /** For the supervisor's script. */
  readonly words: readonly string[];
}

/** What it has of a container's paths. */
export interface LogPaths {
  /** The file that is written; others, older ones, are beside it. */
  readonly log: string;
  /** Folder of the files whose lines have a time. */
  readonly stampedLog: string;
  readonly logPipe: string;
}

/** $FILE is split's name for a part; the first one goes on where the last start left off. No environment of the program's. */
const NEXT_FILE = `
umask 077
if [ "$FILE" != xaa ]; then
  i=$((FILES - 1))
  while [ "$i" -gt 1 ]; do
    j=$((i - 1))
    [ ! -e "$LOG.$j" ] || mv -f "$LOG.$j" "$LOG.$i"
    i=$j
  done
  mv -f "$LOG" "$LOG.1"
fi
cat >>"$LOG" || exec cat >/dev/null
`;

/** As printf(1) has it: ASCII's end of transmission. */
const END_MARK = '\\004';

const CLEAN_ENV = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C';

/** The first words of a script, and its line that is the writer. */
const WORDS =
  'minict_env=$1 minict_tool=$2 minict_pipe=$3 minict_log=$4 minict_bytes=$5 minict_files=$6 minict_next=$7 minict_sleep=$8; shift 8';

function writerLine({ timestamps }: LogPipe): string {
  const writer = timestamps
    ? '"$minict_tool" -tt "$minict_log"'
    : 'LOG="$minict_log" FILES="$minict_files" "$minict_tool" -b "$minict_bytes" --filter="$minict_next" -';
  return `"$minict_env" -i ${CLEAN_ENV} ${writer}`;
}

/**
 * Sets $minict_writer, and leaves descriptor 5 open to it. The pipe is open for reading from here on: services may have left who
 * writes into it, and who read for them so far is about to go.
 */
export function logWriterLines(log: LogPipe): string {
  return `
${WORDS}
exec 6<>"$minict_pipe" 5>"$minict_pipe" 7<"$minict_pipe" 6>&-
${writerLine(log)} <&7 >/dev/null 2>&1 5>&- 7<&- & minict_writer=$!
exec 7<&-
`;
}

/**
 * A process that has the pipe open as descriptor 3, and begins to read, and write the log, when its stdin ends; in the cgroup of
 * a supervisor.
 */
export function successor(log: LogPipe, enterSupervisor: string): readonly string[] {
  const script = `${enterLine('$0')}\n${WORDS}\nread -r minict_word\nexec ${writerLine(log)} <&3 3<&- >/dev/null 2>&1\n`;
  return [toolPath('sh'), '-c', script, enterSupervisor, ...log.words];
}

/**
 * Whether all that was in the pipe is written: the writer sleeps in a read of its stdin (proc_pid_syscall(5)), or in svlogd's
 * poll(2) of one descriptor, and then so does the cat at the end of the processes that it started. One that sh is about to start
 * has yet to read.
 */
const IS_WRITTEN = `
minict_is_reading() {
  read -r minict_pid minict_comm minict_state minict_more <"/proc/$1/stat" && [ "$minict_state" = S ] || return
  read -r minict_call minict_first minict_second minict_more <"/proc/$1/syscall" || return
  case $minict_first:$minict_second in 0x0:* | *:0x1) ;; *) return 1 ;; esac
}
minict_is_written() {
  minict_is_reading "$minict_writer" || return
  minict_child=$minict_writer
  while [ -n "$minict_child" ]; do
    minict_last=$minict_child minict_child=
    read -r minict_child minict_more <"/proc/$minict_last/task/$minict_last/children"
  done
  minict_is_reading "$minict_last"
}
`;

/**
 * The end of the program's output: svlogd gives up what has no line end by then. The reader takes the mark away again. Nobody
 * may be left to read it. The writer ends with the pipe's last user. Where that is a daemon, what came before is awaited alone,
 * for some 5 s at most: the daemon may never let the writer rest.
 */
export function logEndLines({ timestamps }: LogPipe): string {
  return `
${timestamps ? `trap '' PIPE; printf '${END_MARK}\\n' >&5` : ''}
exec 5>&-
${IS_WRITTEN}
minict_tries=250
while read -r minict_left <"$minict_payload" && ! minict_is_written && [ "$minict_tries" -gt 0 ]; do
  "$minict_sleep" 0.02
  minict_tries=$((minict_tries - 1))
done
read -r minict_left <"$minict_payload" || wait "$minict_writer"
`;
}

export function logPipe(paths: LogPaths, { maxBytes, maxFiles, timestamps }: LogSpec = {}): LogPipe {
  const size = String(maxBytes ?? DEFAULT_LOG.maxBytes);
  const files = String(maxFiles ?? DEFAULT_LOG.maxFiles);
  const [tool, at, next] = timestamps ? ['svlogd', paths.stampedLog, ''] : ['split', paths.log, NEXT_FILE];
  return {
    timestamps: timestamps === true,
    words: [toolPath('env'), toolPath(tool), paths.logPipe, at, size, files, next, toolPath('sleep')],
  };
}

/** svlogd's settings (svlogd(8)), and the file that has them. */
export function stampingConfig(paths: LogPaths, { maxBytes, maxFiles }: LogSpec): { path: string; content: string } {
  const { maxBytes: bytes, maxFiles: files } = DEFAULT_LOG;
  const content = `s${maxBytes ?? bytes}\nn${(maxFiles ?? files) - 1}\n`;
  return { path: join(paths.stampedLog, 'config'), content };
}
