/** A container's files as seen from outside, up or stopped, held still for as long as somebody reads or writes them. */
import { constants, existsSync, fstatSync, lchownSync, openSync, statfsSync, statSync } from 'node:fs';
import { ConflictError, HostError } from '../errors.ts';
import { isMountPoint } from '../host/exec-calls.ts';
import { O_PATH } from '../host/syscalls.ts';
import { toolPath } from '../host/tool.ts';
import { missingNamespace } from '../process/become.ts';
import { Journal } from '../runner/journal.ts';
import { type ContainerSpec, treeOf } from '../spec/container.ts';
import { isWithin } from '../spec/root-paths.ts';
import { type ContainerPaths, containerPaths } from '../state/paths.ts';
import { OVERLAYFS } from '../storage/overlay.ts';
import { type Entry, pathOf, Tree, toBytes } from '../storage/tree.ts';
import type { Context } from './context.ts';
import { Eye } from './eye.ts';
import { type Held, holdAlone, holdContainer } from './hold.ts';
import { placeOf } from './place.ts';
import { type PlannedView, planViewOfStopped, planViewOfUp, type ViewOptions } from './view-plan.ts';

export interface View {
  readonly tree: Tree;
  /** Descriptor of the container's lock, for processes that work on its files. */
  readonly lockFd: number;
  /** What leads to where files that are seen have the ids that they have inside; `own` makes one root's in there. */
  readonly enter: readonly string[];
  own(path: string | Buffer): void;
  /** Why an entry is not the container's: it is, or is in, what is mounted there at other times. */
  refusalOf(entry: Entry): string | undefined;
  /**
   * To be called when all places are found, before tools go to work on them: no symlink is followed any more. Returns the
   * mount points, as byte strings.
   */
  seal(): Promise<ReadonlySet<string>>;
  close(): Promise<void>;
}

interface Options extends ViewOptions {
  /** Whoever has the container may be waiting for this one: not to be waited for in turn. */
  readonly hurried?: boolean;
}

/** Throws NotFoundError, ConflictError (not whole, in use), StateError, HostError. */
export async function openView(context: Context, name: string, options: Options): Promise<View> {
  const { spec, lock, up } = await holdFiles(context, name, options);
  let eye: Eye | undefined;
  let tree: Tree | undefined;
  const close = async () => {
    tree?.close();
    await eye?.close();
    lock.release();
  };
  try {
    const planned = up ? planViewOfUp(context, spec, options) : planViewOfStopped(context, spec, options);
    eye = await lookWith(context, name, planned, lock.fd, up);
    const root = openSync(`/proc/${eye.pid}/root${planned.plan.rootfs}`, O_PATH | constants.O_DIRECTORY);
    tree = new Tree(root);
    if (!isRootOf(spec, containerPaths(context.roots, name), root)) {
      throw notWhole(name, 'its root is not mounted');
    }
    const refusalOf = ({ parent, name: entry }: Entry) => {
      const path = entry === '.' ? pathOf(parent) : `${pathOf(parent)}/${entry}`;
      return planned.closed.find((place) => isWithin(path, toBytes(place.path)))?.cause;
    };
    const seal = async () => new Set((await (eye as Eye).seal()).map(toBytes));
    return { tree, lockFd: lock.fd, ...idsOf(spec, containerPaths(context.roots, name), up), refusalOf, seal, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A stopped one's files show as they are on the disk. */
function idsOf({ userns }: ContainerSpec, paths: ContainerPaths, up: boolean): Pick<View, 'enter' | 'own'> {
  if (userns === undefined || !up) return { enter: [], own: () => {} };
  const own = (path: string | Buffer) => lchownSync(path, userns.hostId, userns.hostId);
  return { enter: [toolPath('nsenter'), `--user=${paths.userns}`, '--'], own };
}

async function lookWith(context: Context, name: string, planned: PlannedView, lockFd: number, up: boolean) {
  try {
    return await Eye.open(context, planned, lockFd);
  } catch (error) {
    const { message } = error as HostError;
    // Something that it had is not mounted any more.
    if (up) throw notWhole(name, message);
    throw new HostError(`cannot open the files of ${name}: ${message}`);
  }
}

/** Whether a descriptor is of the container's root, and not of the folder that it is to be mounted on. */
function isRootOf(spec: ContainerSpec, { files }: ContainerPaths, root: number): boolean {
  const tree = treeOf(spec, files);
  if (tree === undefined) return statfsSync(`/proc/self/fd/${root}`).type === OVERLAYFS;
  const [is, was] = [fstatSync(root), statSync(tree)];
  return is.ino === was.ino && is.dev === was.dev;
}

/**
 * No verb changes its mounts meanwhile. Alone where its overlay is to be mounted for writing: two on one upper directory
 * would damage it.
 */
async function holdFiles(context: Context, name: string, options: Options): Promise<Held & { up: boolean }> {
  const shared = judge(context, await holdContainer(context, name, options.hurried));
  if (shared.up || !options.write || treeOf(shared.spec, '') !== undefined) return shared;
  shared.lock.release();
  const alone = judge(context, await holdAlone(context, name, options.hurried ?? false));
  if (!alone.up) return alone;
  // Started meanwhile: others may read it, too.
  alone.lock.release();
  return holdFiles(context, name, options);
}

function judge(context: Context, held: Held): Held & { up: boolean } {
  try {
    return { ...held, up: isUp(held.spec, containerPaths(context.roots, held.spec.name)) };
  } catch (error) {
    held.lock.release();
    throw error;
  }
}

function notWhole(name: string, cause: string): ConflictError {
  return new ConflictError(`cannot open the files of ${name}: ${cause}`, { hint: `minict start ${name}` });
}

/** Whether its root is mounted; false: it is stopped. Throws ConflictError for what is neither. */
function isUp(spec: ContainerSpec, paths: ContainerPaths): boolean {
  const state = new Journal(paths.journal).read();
  if (existsSync(paths.enter)) {
    const gone = missingNamespace(placeOf(spec, paths));
    if (gone !== undefined) throw notWhole(spec.name, `its namespace ${gone} is gone`);
    return true;
  }
  const stopped = state === undefined || (state.phase === 'stopped' && state.interrupted.size === 0);
  if (!stopped) throw notWhole(spec.name, 'a start or stop of it was interrupted');
  // A script may have brought it up.
  if (spec.lower !== undefined && (existsSync(paths.mntns) || isMountPoint(paths.rootfs))) {
    throw new ConflictError(`cannot open the files of ${spec.name}: they are mounted, and minict did not do it`, {
      hint: `minict start --dry-run-undo ${spec.name} prints what takes it down`,
    });
  }
  return false;
}
