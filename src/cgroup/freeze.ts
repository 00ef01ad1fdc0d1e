/**
 * A container's processes held still: until somebody lets them go, or while something is done, and then let go whatever
 * becomes of minict.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstLine, HostError } from '../errors.ts';
import { readGroupFile } from '../host/group-file.ts';
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
const STILL_WITHIN_MS = 2000;

export interface Freezer {
  readonly file: string;
  /** What is written there. */
  readonly hold: string;
  readonly release: string;
  /** A file, and its line once all are still. */
  readonly events: string;
  readonly still: string;
}

export function freezerOf({ version }: CgroupHost, path: string): Freezer {
  const state = join(path, 'freezer.state');
  return version === 1
    ? { file: state, hold: 'FROZEN', release: 'THAWED', events: state, still: 'FROZEN' }
    : {
        ...{ file: join(path, 'cgroup.freeze'), hold: '1', release: '0' },
        ...{ events: join(path, 'cgroup.events'), still: 'frozen 1' },
      };
}

/** Whether somebody holds the group at `path`, whose processes may not all be still yet. */
export function isHeldStill(path: string): boolean {
  const { file, release } = freezerOf(readCgroupHost(), path);
  const state = readGroupFile(file);
  return state !== undefined && state.trim() !== release;
}

/** Returns once the group's processes are still. Throws HostError where they do not get there; then they go on. */
export async function holdStill(path: string): Promise<void> {
  const { file, hold, release, events, still } = freezerOf(readCgroupHost(), path);
  writeFileSync(file, hold);
  const end = performance.now() + STILL_WITHIN_MS;
  while (!readFileSync(events, 'utf8').split('\n').includes(still)) {
    if (performance.now() > end) {
      writeFileSync(file, release);
      throw new HostError(`cannot hold the processes of ${path}: one hangs in the kernel`);
    }
    await Bun.sleep(1);
  }
}

/** Lets the processes of the group go, where somebody holds them. */
export function letGo(path: string): void {
  const { file, release } = freezerOf(readCgroupHost(), path);
  if (isHeldStill(path)) writeFileSync(file, release);
}

/**
 * Does `action` while the processes of the group at `path`, where there is one, are held still. A group that is held already
 * stays so. Throws HostError.
 */
export async function whileFrozen<T>(path: string, action: () => Promise<T>): Promise<T> {
  const { file, hold, release, events, still } = freezerOf(readCgroupHost(), path);
  if (!existsSync(file) || isHeldStill(path)) return action();
  const words = [file, hold, release, events, still];
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
