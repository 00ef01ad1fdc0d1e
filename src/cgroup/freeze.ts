/** A container's processes held still while something is done, and let go on whatever becomes of minict. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstLine, HostError } from '../errors.ts';
import { type CgroupHost, readCgroupHost } from './cgroup.ts';

/**
 * In the freezer of v1 the state says when all are still; v2 has it in cgroup.events. Both are waited for, two seconds at
 * most: what hangs in the kernel cannot be held, nor does it write. The end comes with that of its stdin, which is minict's;
 * a signal of the terminal goes to minict, too.
 */
const WHILE_FROZEN = `
file=$1 hold=$2 release=$3 events=$4 still=$5
trap '' HUP INT QUIT PIPE TERM
trap 'echo "$release" >"$file"' EXIT
echo "$hold" >"$file" || exit 1
tries=0
until grep -qx "$still" "$events" || [ "$tries" -ge 200 ]; do sleep 0.01; tries=$((tries + 1)); done
echo still
read -r _
exit 0
`;

function freezerOf({ version }: CgroupHost, path: string): string[] {
  return version === 1
    ? [join(path, 'freezer.state'), 'FROZEN', 'THAWED', join(path, 'freezer.state'), 'FROZEN']
    : [join(path, 'cgroup.freeze'), '1', '0', join(path, 'cgroup.events'), 'frozen 1'];
}

/** Does `action` while the processes of the group at `path`, where there is one, are held still. Throws HostError. */
export async function whileFrozen<T>(path: string, action: () => Promise<T>): Promise<T> {
  const words = freezerOf(readCgroupHost(), path);
  const [file = '', , release = ''] = words;
  if (!existsSync(file)) return action();
  const holder = Bun.spawn(['sh', '-c', WHILE_FROZEN, 'sh', ...words], { stdio: ['pipe', 'pipe', 'pipe'] });
  try {
    const { done } = await holder.stdout.getReader().read();
    if (done) {
      const complaint = firstLine(await new Response(holder.stderr).text());
      throw new HostError(`cannot hold the processes of ${path}: ${complaint || 'sh failed'}`);
    }
    return await action();
  } finally {
    await Promise.resolve(holder.stdin.end()).catch(() => {});
    // Killed, it has let nobody go.
    if ((await holder.exited) !== 0 && existsSync(file)) writeFileSync(file, release);
  }
}
