/** Lines of scripts that become a container's program, in its cgroups. */
import { toolPath } from '../host/tool.ts';
import type { Run } from './enter.ts';

/** Part of a script; `files` expands to those of cgroups, which have no white space. Its variable is no program's. */
export function enterLine(files: string): string {
  return `for minict_group in ${files}; do echo 0 >"$minict_group" || exit 125; done`;
}

/** Line of a script whose $0 has the cgroups' files. Descriptor 3, a lock if anything, is held until then. */
export const ENTER_CGROUP = `${enterLine('$0')}; exec 3>&-`;

/**
 * Lines of a script that becomes the program of $2 and the following, with $1 as its PATH. That comes last: dash takes its
 * builtins from where that has `%builtin`, behind the image's own folders. What shells export is not the program's. A process
 * enters a cgroup, by `enter`, before the exec, so nothing it starts can be outside.
 */
export function becomeLines(enter: string): string {
  const limits = ['umask 022', 'ulimit -S -n 1024 2>/dev/null'];
  return [...limits, enter, 'unset PWD OLDPWD SHLVL', 'export PATH="$1"', 'shift', 'exec "$@"'].join('; ');
}

export function inCgroup(enter: readonly string[], { argv, env }: Run, first = ':'): Run {
  const { PATH = '', ...rest } = env;
  const script = `${first}; ${becomeLines(ENTER_CGROUP)}`;
  return { argv: [toolPath('sh'), '-c', script, enter.join(' '), PATH, ...argv], env: rest };
}
