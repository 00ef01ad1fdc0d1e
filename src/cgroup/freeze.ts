/** A container's processes held still while something is done, and let go on whatever becomes of minict. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type CgroupHost, readCgroupHost } from './cgroup.ts';

/**
 * In the freezer of v1 the state says when all are still; v2 has it in cgroup.events. Both are waited for, two seconds at
 * most: what hangs in the kernel cannot be held, nor does it write.
 */
const WHILE_FROZEN = `
file=$1 hold=$2 release=$3 events=$4 still=$5; shift 5
trap 'echo "$release" >"$file"' EXIT
echo "$hold" >"$file" || exit 1
tries=0
until grep -qx "$still" "$events" || [ "$tries" -ge 200 ]; do sleep 0.01; tries=$((tries + 1)); done
"$@"
`;

function freezerOf({ version }: CgroupHost, path: string): string[] {
  return version === 1
    ? [join(path, 'freezer.state'), 'FROZEN', 'THAWED', join(path, 'freezer.state'), 'FROZEN']
    : [join(path, 'cgroup.freeze'), '1', '0', join(path, 'cgroup.events'), 'frozen 1'];
}

/** `argv`, run while the processes of the group at `path` are held still; as it is where there is no such group. */
export function whileFrozenArgv(path: string, argv: readonly string[]): string[] {
  const [file = '', ...words] = freezerOf(readCgroupHost(), path);
  if (!existsSync(file)) return [...argv];
  return ['sh', '-c', WHILE_FROZEN, 'sh', file, ...words, ...argv];
}
