/** A container's files as seen from outside, up or stopped, held still for as long as somebody reads or writes them. */
import { constants, existsSync, fstatSync, openSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { ConflictError, firstLine, HostError, NotFoundError } from '../errors.ts';
import { isMountPoint, parseMountPoints } from '../host/facts.ts';
import { O_PATH } from '../host/syscalls.ts';
import { toolPath } from '../host/tool.ts';
import { sayCommand } from '../host/verbose.ts';
import { lowerLayers } from '../plan/container.ts';
import { missingNamespace } from '../process/become.ts';
import { Journal } from '../runner/journal.ts';
import { runTool } from '../runner/spawn.ts';
import { type ContainerSpec, rootfsOf, treeOf } from '../spec/container.ts';
import { HOST_FOLDERS, isWithin } from '../spec/root-paths.ts';
import { type ContainerPaths, containerPaths } from '../state/paths.ts';
import { OVERLAYFS } from '../storage/overlay.ts';
import { type Entry, pathOf, Tree, toBytes } from '../storage/tree.ts';
import { isSealed, sealArgv, type ViewPlan, viewArgv } from '../storage/view.ts';
import { readRoot } from './container-facts.ts';
import { type Context, spawnContext } from './context.ts';
import { type Held, holdAlone, holdContainer } from './hold.ts';
import { placeOf } from './place.ts';

export interface ViewOptions {
  readonly write?: boolean;
  /** Only what the layers have, not what is mounted over them. */
  readonly bare?: boolean;
  /** Whoever has the container may be waiting for this one: not to be waited for in turn. */
  readonly hurried?: boolean;
}

export interface View {
  readonly tree: Tree;
  /** Descriptor of the container's lock, for processes that work on its files. */
  readonly lockFd: number;
  /** /proc, /sys, /dev, or something in them: not the container's. */
  isHosts(entry: Entry): boolean;
  /** To be called when all places are found, before tools go to work on them: no symlink is followed any more. */
  seal(): Promise<void>;
  close(): Promise<void>;
}

/** Throws NotFoundError, ConflictError (not whole, in use), StateError, HostError. */
export async function openView(context: Context, name: string, options: ViewOptions): Promise<View> {
  const { spec, lock, up } = await holdFiles(context, name, options);
  let eye: Eye | undefined;
  try {
    const { plan, hosts } = planView(context, spec, up, options);
    eye = await openEye(name, plan, context, lock.fd, up);
    const { pid } = eye;
    const root = openSync(`/proc/${pid}/root${plan.rootfs}`, O_PATH | constants.O_DIRECTORY);
    const tree = new Tree(root);
    const close = async () => {
      tree.close();
      await eye?.close();
      lock.release();
    };
    if (up && !isRootOf(spec, containerPaths(context.roots, name), root)) {
      tree.close();
      throw notWhole(name, 'its root is not mounted');
    }
    const isHosts = ({ parent, name: entry }: Entry) => {
      const path = entry === '.' ? pathOf(parent) : `${pathOf(parent)}/${entry}`;
      return hosts.some((host) => isWithin(path, toBytes(host)));
    };
    return { tree, lockFd: lock.fd, isHosts, seal: () => seal(context, pid, plan.rootfs, lock.fd), close };
  } catch (error) {
    await eye?.close();
    lock.release();
    throw error;
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
async function holdFiles(context: Context, name: string, options: ViewOptions): Promise<Held & { up: boolean }> {
  const shared = judge(context, await holdContainer(context, name));
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

/** `hosts` are the places in it that are not the container's. */
function planView(
  context: Context,
  spec: ContainerSpec,
  up: boolean,
  { write = false, bare = false }: ViewOptions,
): { plan: ViewPlan; hosts: string[] } {
  const paths = containerPaths(context.roots, spec.name);
  const tree = treeOf(spec, paths.files);
  const rootfs = up ? rootfsOf(spec, paths.rootfs) : (tree ?? paths.rootfs);
  const gone = (tree === undefined ? (spec.lower ?? []) : [tree]).find((path) => !existsSync(path));
  if (gone !== undefined) {
    throw new NotFoundError(`cannot open the files of ${spec.name}: ${gone} is not there any more`, {
      hint: `put ${gone} back`,
    });
  }
  const mounts = up ? (new Journal(paths.journal).read()?.steps ?? []) : [];
  const without = mounts.flatMap(({ id, run }) =>
    run.kind === 'mount' && HOST_FOLDERS.some((path) => id === `mount ${path.slice(1)}`) ? [run.target] : [],
  );
  const facts = up ? undefined : readRoot(context, spec);
  const image = tree === undefined ? spec.lower : undefined;
  const lower = facts && image && lowerLayers(image, paths, facts).filter(existsSync);
  const { upper, work } = paths;
  // Read only, its upper layer is one more of the lower ones: nothing is written into any.
  const isWritten = write && !spec.readOnly;
  const overlay = lower && (isWritten ? { lower, upper, work } : { lower: [upper, ...lower] });
  const volumes = bare ? [] : (facts?.rootfs.volumes ?? []);
  const mntns = up && spec.mounts === 'private' ? paths.mntns : undefined;
  const hosts = [...HOST_FOLDERS.map((path) => `${rootfs}${path}`), ...without];
  return { plan: { rootfs, mntns, overlay, bare, without, volumes }, hosts };
}

/** The process that has the root mounted. */
interface Eye {
  readonly pid: number;
  close(): Promise<void>;
}

async function openEye(name: string, plan: ViewPlan, context: Context, lockFd: number, up: boolean): Promise<Eye> {
  const [tool = '', ...words] = viewArgv(plan);
  if (context.verbose) sayCommand([tool, ...words]);
  const child = Bun.spawn([toolPath(tool), ...words], {
    stdio: ['pipe', 'pipe', 'pipe', lockFd],
    env: { ...process.env, LC_ALL: 'C' },
  });
  const complaints = new Response(child.stderr as ReadableStream).text();
  const close = async () => {
    await Promise.resolve(child.stdin.end()).catch(() => {});
    await child.exited;
  };
  try {
    child.stdin.write('\n');
    await child.stdin.flush();
  } catch {
    // It has ended: its own words say why.
  }
  const { done } = await child.stdout.getReader().read();
  if (!done) return { pid: child.pid, close };
  await close();
  // Something that it had is not mounted any more.
  if (up) throw notWhole(name, firstLine(await complaints));
  throw new HostError(`cannot open the files of ${name}: ${firstLine(await complaints)}`);
}

async function seal(context: Context, pid: number, rootfs: string, lockFd: number): Promise<void> {
  // Of those in one place, the last is on top.
  const mounts = () => [
    ...new Map(
      parseMountPoints(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))
        .filter(({ target }) => isWithin(target, rootfs))
        .map((mount) => [mount.target, mount]),
    ).values(),
  ];
  const { exitCode, stderr } = await runTool(sealArgv(pid, mounts()), spawnContext(context, lockFd));
  if (exitCode === 0 && mounts().every(isSealed)) return;
  throw new HostError(`cannot keep symlinks from being followed: ${firstLine(stderr) || 'mount has no nosymfollow'}`, {
    hint: 'needs Linux 5.10 and util-linux 2.37',
  });
}
