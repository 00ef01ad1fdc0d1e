/**
 * The tree that a build step works in: an overlay of the layers below and of an empty directory, which takes what the step
 * changes and becomes the next layer. It is mounted where the step alone sees it, and is gone with it.
 */
import { chmodSync, chownSync, mkdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { HostError } from '../errors.ts';
import { toolPath } from '../host/tool.ts';
import { imagePaths } from '../state/paths.ts';
import { OWN_MOUNTS, runBuildTool } from './build-tool.ts';
import type { Staging } from './staging.ts';

export interface BuildTree {
  /** Takes what the step changes. */
  readonly upper: string;
  /** The layers' folder: names that are relative to it fit into mount(2)'s page of options, and need no quotes. */
  readonly cwd: string;
  readonly options: string;
  /** Where it is mounted, relative to `cwd`. */
  readonly target: string;
  /** A folder for files of the step's own, likewise. */
  readonly scratch: string;
}

/** What a tree may lack to be mounted over; the lowest layer of all has it, so that none of it gets into a new one. */
const MOUNT_POINTS = ['proc', 'dev', 'etc'];

let treesMade = 0;

/** `layers` are directories of the store, the top one first. */
export function makeTree({ roots, dir }: Staging, layers: readonly string[]): BuildTree {
  treesMade += 1;
  const here = join(dir, `step-${treesMade}`);
  for (const name of ['upper', 'work', 'root', 'scratch', 'skeleton']) {
    mkdirSync(join(here, name), { recursive: true, mode: 0o755 });
  }
  for (const name of MOUNT_POINTS) mkdirSync(join(here, 'skeleton', name), { mode: 0o755 });
  const upper = join(here, 'upper');
  const [top] = layers;
  if (top !== undefined) {
    // The root directory is the upper one's own, with nothing of those below.
    const { mode, uid, gid } = statSync(top);
    chownSync(upper, uid, gid);
    chmodSync(upper, mode & 0o7777);
  }
  const at = (name: string) => join('..', basename(dir), basename(here), name);
  const options = [
    `lowerdir=${[...layers.map((layer) => basename(layer)), at('skeleton')].join(':')}`,
    `upperdir=${at('upper')}`,
    `workdir=${at('work')}`,
    ...['index=off', 'metacopy=off', 'redirect_dir=off'],
    // It is worth nothing after a crash; without this its end waits for the disk.
    'volatile',
  ].join(',');
  return { upper, cwd: imagePaths(roots).layers, options, target: at('root'), scratch: at('scratch') };
}

const MOUNT = 'mount -t overlay -o "$1" overlay "$2" || exit 125';

/** The host's files are copied: a line that appends to /etc/hosts must not get at them. */
const RUN = `${MOUNT}
umask 022
scratch=$PWD/$3
cd "$2" || exit 125
for name in proc dev etc; do
  if [ ! -d "$name" ] || [ -L "$name" ]; then echo "/$name of the image is no folder"; exit 125; fi
done
for name in resolv.conf hosts; do
  if [ -f "/etc/$name" ] && [ -f "etc/$name" ] && [ ! -L "etc/$name" ]; then
    cp "/etc/$name" "$scratch/$name" && mount --bind "$scratch/$name" "etc/$name" || exit 125
  fi
done
mount -t proc -o nosuid,nodev,noexec proc proc &&
  mount -t tmpfs -o mode=755,nosuid dev dev &&
  mkdir dev/pts dev/shm && chmod 1777 dev/shm &&
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts &&
  cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty dev &&
  ln -s pts/ptmx dev/ptmx && ln -s /proc/self/fd dev/fd && ln -s fd/0 dev/stdin && ln -s fd/1 dev/stdout &&
  ln -s fd/2 dev/stderr || exit 125
shift 3
exec "$@"
`;

export interface RunOptions {
  readonly progress: boolean;
  /** What the line sees besides HOME and a PATH. */
  readonly env: readonly string[];
}

/** A shell line in the tree, as root, with the host's network. Throws HostError with the last lines of what it said. */
export async function runInTree(
  { lockFd }: Staging,
  { cwd, options, target, scratch }: BuildTree,
  verb: string,
  line: string,
  { progress, env }: RunOptions,
): Promise<void> {
  const clean = [
    ...[toolPath('env'), '-i', '--default-signal'],
    ...['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'],
    ...env,
  ];
  const inside = [...clean, toolPath('chroot'), '.', 'sh', '-ec', line];
  await runBuildTool(verb, ['sh', '-c', RUN, 'sh', options, target, scratch, ...inside], { lockFd, progress, cwd });
}

/** Whoever holds its standard input keeps it: it ends with minict. */
const HOLD = `${MOUNT}
cd "$2" && echo ready && exec cat
`;

/**
 * Lets `use` write into the tree, by the path that it gets. Images have symlinks that point at the host: `use` must follow
 * none. Throws HostError where the tree cannot be mounted.
 */
export async function withTree<T>(
  { lockFd }: Staging,
  { cwd, options, target }: BuildTree,
  verb: string,
  use: (root: string) => T,
): Promise<T> {
  const holder = Bun.spawn([...OWN_MOUNTS, '--', 'sh', '-c', HOLD, 'sh', options, target], {
    stdio: ['pipe', 'pipe', 'pipe', lockFd],
    env: { ...process.env, LC_ALL: 'C' },
    cwd,
  });
  const complaints = new Response(holder.stderr as ReadableStream).text();
  try {
    const { done } = await (holder.stdout as ReadableStream<Uint8Array>).getReader().read();
    if (done) throw new HostError(`cannot ${verb}: ${(await complaints).trim()}`);
    // Its working directory is the tree, in the mount namespace where it is mounted.
    return use(`/proc/${holder.pid}/cwd`);
  } finally {
    await (holder.stdin as Bun.FileSink).end();
    await holder.exited;
  }
}
