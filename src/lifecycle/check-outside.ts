/** Ways out of a container that lead through the host: what others can run of its files, and what minict itself follows. */
import { dirname } from 'node:path';
import { readMountPoints } from '../host/facts.ts';
import type { Bait } from '../process/escapes.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { Place } from '../spec/place.ts';
import { isWithin } from '../spec/root-paths.ts';
import { sourceOf } from './attachments.ts';
import type { RunCalls, Tried } from './check.ts';
import type { Context } from './context.ts';
import { openView } from './view.ts';

export async function tryOutside(
  context: Context,
  spec: ContainerSpec,
  place: Place,
  bait: Bait,
  run: RunCalls,
): Promise<Tried[]> {
  return [await trySetuid(context, spec, place), await trySymlink(context, spec.name, bait, run)];
}

/** nobody's ids on Debian, and of every kernel for who has none. */
const NOBODY = '65534';

/** Whether somebody on the host who is not root could run what root inside gave the bit. */
async function trySetuid(context: Context, spec: ContainerSpec, place: Place): Promise<Tried> {
  const volumes = (spec.volumes ?? []).flatMap((volume) => {
    const source = volume.type === 'tmpfs' || volume.readOnly ? undefined : sourceOf(context, spec, volume);
    return source === undefined ? [] : [source];
  });
  const mounts = readMountPoints();
  const isNosuid = (path: string) =>
    mounts
      .filter(({ target }) => isWithin(path, target))
      .sort((a, b) => b.target.length - a.target.length)[0]
      ?.options.split(',')
      .includes('nosuid');
  const folders = [...place.layers.slice(0, 1), ...volumes].filter((path) => !isNosuid(path));
  const as = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'];
  for (const folder of folders) {
    const child = Bun.spawn([...as, 'test', '-x', `${folder}/.`], { stdio: ['ignore', 'ignore', 'ignore'] });
    if ((await child.exited) === 0) {
      return { way: 'setuid programs', result: 'open', why: `users of the host can run them in ${folder}` };
    }
  }
  return { way: 'setuid programs', result: 'stopped', why: 'its files are in folders of root, or nosuid' };
}

const AT_FDCWD = -100;

/** A symlink inside that leads to the host's file, for `exec -w` and `cp`. */
async function trySymlink(context: Context, name: string, { mark, name: link }: Bait, run: RunCalls): Promise<Tried> {
  const tried = (result: Tried['result'], why: string): Tried => ({ way: 'symlinks', result, why });
  for (const path of ['/', '/tmp/', '/dev/shm/'].map((folder) => `${folder}${link}`)) {
    const { results } = await run([{ name: 'symlinkat', args: [dirname(mark), AT_FDCWD, path] }]);
    if (results[0] !== 0) continue;
    try {
      // What does not start is not outside.
      const inside = await run([{ name: 'openat', args: [AT_FDCWD, 'mark', 0, 0] }], { workdir: path });
      if ((inside.results[0] ?? -1) >= 0) return tried('open', 'exec -w follows them to the host');
      if (await isFoundByCopy(context, name, `${path}/mark`)) return tried('open', 'cp follows them to the host');
      return tried('stopped', 'exec -w and cp follow them inside its root alone');
    } finally {
      await run([{ name: 'unlinkat', args: [AT_FDCWD, path, 0] }]);
    }
  }
  return tried('stopped', 'nothing in it can be written');
}

async function isFoundByCopy(context: Context, name: string, path: string): Promise<boolean> {
  const view = await openView(context, name, {});
  try {
    return view.tree.locate(path, true).stat !== undefined;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  } finally {
    await view.close();
  }
}
