/**
 * The end of a supervisor whose container goes with its main command: minict removes it, from outside of the cgroup that it then
 * ends. Lines of the supervisor's script.
 */
import { toolPath } from '../host/tool.ts';

export interface AutoRemove {
  /** For the supervisor's script. */
  readonly words: readonly string[];
}

/** `createdAt` as `rm --once-ended` takes it, `enter` a file that takes 0 from who goes to a group that is no container's. */
export function autoRemove(minict: readonly string[], enter: string, createdAt: string): AutoRemove {
  const [program = '', root = '', runDir = ''] = minict;
  return { words: [toolPath('env'), enter, program, root, runDir, createdAt] };
}

export const REMOVE_WORDS =
  'minict_clean=$1 minict_out=$2 minict_program=$3 minict_root=$4 minict_dir=$5 minict_made=$6; shift 6';

/** Nobody waits for it: `rm` waits for who has the container's lock. No environment of the program's. */
export const REMOVE_LINES = `
(
  exec </dev/null >/dev/null 2>&1
  echo 0 >"$minict_out" || exit
  exec "$minict_clean" -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$minict_program" \\
    --root "$minict_root" --run-dir "$minict_dir" rm --once-ended "$minict_made" "$minict_name"
) &
`;
