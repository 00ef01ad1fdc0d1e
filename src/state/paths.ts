/**
 * Where everything lies. Pure: joins strings, touches nothing. In the run dir a container has its name and `.lock-NAME`;
 * whatever else is in there begins with a dot and not with `.lock-`, so that no container's name can be in its way.
 */
export interface Roots {
  /** What outlasts a reboot: containers, images, networks, volumes. Default /var/lib/minict, mode 0700. */
  readonly root: string;
  /** What a reboot must forget: journals, locks. Default /run/minict. */
  readonly runDir: string;
}

/** Roots are normal already, or, in exec, as they were given, which the kernel minds not. To load node:path costs it 0.3 ms. */
function join(folder: string, ...names: readonly string[]): string {
  return `${folder === '/' ? '' : folder}/${names.join('/')}`;
}

/** Journal, and lock, of what is made once a boot for all containers. */
export function hostJournalPath(roots: Roots): string {
  return join(roots.runDir, '.host');
}

/** Of what NAT and published ports share. */
export function gatewayJournalPath(roots: Roots): string {
  return join(roots.runDir, '.gateway');
}

/** What the host's firewall was found to stop. */
export function firewallVerdictsPath(roots: Roots): string {
  return join(roots.runDir, '.firewall');
}

/** What happened to containers and networks, oldest first; older ones are beside it. */
export function eventsPath(roots: Roots): string {
  return join(roots.root, 'events');
}

/** Held by whoever gives the file of events its older name. */
export function eventsLockPath(roots: Roots): string {
  return join(roots.runDir, '.events');
}

export function imagesLockPath(roots: Roots): string {
  return join(roots.runDir, '.images');
}

export function volumesLockPath(roots: Roots): string {
  return join(roots.runDir, '.volumes');
}

/** Held, shared, by whoever adds blobs and layers that no image has yet. */
export function imageFilesLockPath(roots: Roots): string {
  return join(roots.runDir, '.image-files');
}

/** Held by whoever chooses ids of the host for a user namespace: they are all roots' of this host. */
export const ID_RANGES_LOCK = '/run/minict.id-ranges';

/** Held by whoever makes an image a tree. */
export function imageTreesLockPath(roots: Roots): string {
  return join(roots.runDir, '.image-trees');
}

/** The id that tells two roots on one machine apart, and in the run dir whose that is. */
export function instancePaths(roots: Roots): { instance: string; marker: string } {
  return { instance: join(roots.root, 'instance'), marker: join(roots.runDir, '.instance') };
}

/** Fixed places, so that `ip netns`, `ss -N` and `nsenter` see minict's namespaces. */
export const NETNS_DIR = '/run/netns';
export const UTSNS_DIR = '/run/utsns';
export const MNTNS_DIR = '/run/mntns';
export const NAMESPACE_FOLDERS = [NETNS_DIR, UTSNS_DIR, MNTNS_DIR];
/** Of namespaces that only some containers have. */
export const PIDNS_DIR = '/run/pidns';
export const IPCNS_DIR = '/run/ipcns';
export const CGROUPNS_DIR = '/run/cgroupns';
export const USERNS_DIR = '/run/userns';
export const TIMENS_DIR = '/run/timens';
export const ISOLATION_FOLDERS = [PIDNS_DIR, IPCNS_DIR, CGROUPNS_DIR, USERNS_DIR, TIMENS_DIR];

export function rootsFrom(options: { root?: string; runDir?: string }, env: NodeJS.ProcessEnv): Roots {
  return {
    root: options.root ?? (env.MINICT_ROOT || '/var/lib/minict'),
    runDir: options.runDir ?? (env.MINICT_RUN_DIR || '/run/minict'),
  };
}

/** What minict itself makes in the state folder. */
export function stateFolders(roots: Roots): string[] {
  const folders = [
    'build-cache',
    'cables',
    'containers',
    'images',
    'layers',
    'networks',
    'volumes',
    '.trash',
    'skeleton',
  ];
  return folders.map((folder) => join(roots.root, folder));
}

export const LOCK_PREFIX = '.lock-';

export interface ContainerPaths {
  /** Of all containers. */
  readonly stateFolder: string;
  readonly dir: string;
  readonly json: string;
  readonly upper: string;
  readonly work: string;
  readonly rootfs: string;
  /** All its files, where they are no layers. */
  readonly files: string;
  /** A layer with the mount points that only this container's image lacks. */
  readonly mountPoints: string;
  /** The same in front of the image's layers, where one of these hides what is below. */
  readonly hiddenMountPoints: string;
  /** Folder of the volumes that go with it. */
  readonly volumes: string;
  /** A folder for each snapshot of its network. */
  readonly netSnapshots: string;
  readonly hosts: string;
  readonly hostname: string;
  readonly resolvConf: string;
  /** What services and the main command wrote; older parts are `log.1` and so on. */
  readonly log: string;
  /** Folder of the same, where each line has its time. */
  readonly stampedLog: string;
  /** That leads to the writer of the log. */
  readonly logPipe: string;
  /** When its main command was started and ended, and how. */
  readonly exit: string;
  /** What its last health check said. */
  readonly health: string;
  /** There while a health check is under way. */
  readonly asking: string;
  /** How many of its processes the kernel killed for memory, until it was stopped. */
  readonly oomKills: string;
  readonly runDir: string;
  readonly journal: string;
  readonly enter: string;
  /** Folder of the bundle and state of an OCI runtime. */
  readonly oci: string;
  /** Folder of what is known of a systemd-nspawn. */
  readonly nspawn: string;
  /** There once it is to end: its main command is not started again. */
  readonly stopping: string;
  /** There while it is stopped to be started again: it goes not with its main command, as it would. */
  readonly kept: string;
  /** There while its limits are changed. */
  readonly updating: string;
  readonly lock: string;
  readonly netns: string;
  readonly utsns: string;
  readonly mntns: string;
  /** Of the mounts that its PID 1 has made on top of those. */
  readonly guestMntns: string;
  readonly pidns: string;
  readonly ipcns: string;
  readonly cgroupns: string;
  readonly userns: string;
  readonly timens: string;
  /** Where an OCI runtime finds its root, in the container's mount namespace, with a user namespace: all may go there. */
  readonly openRoot: string;
}

/** Where a container's namespaces are persisted, whichever of them it has. */
export function namespaceFiles(paths: ContainerPaths): string[] {
  const { netns, utsns, mntns, guestMntns, pidns, ipcns, cgroupns, userns, timens } = paths;
  return [netns, utsns, mntns, guestMntns, pidns, ipcns, cgroupns, userns, timens];
}

const known = new Map<string, ContainerPaths>();

/** A verb asks for them dozens of times. */
export function containerPaths(roots: Roots, name: string): ContainerPaths {
  const dir = join(roots.root, 'containers', name);
  const runDir = join(roots.runDir, name);
  const key = `${dir}\n${runDir}`;
  let paths = known.get(key);
  if (paths === undefined) {
    paths = pathsIn(roots, name, dir, runDir);
    known.set(key, paths);
  }
  return paths;
}

function pathsIn(roots: Roots, name: string, dir: string, runDir: string): ContainerPaths {
  return {
    stateFolder: roots.root,
    dir,
    json: `${dir}/container.json`,
    upper: `${dir}/upper`,
    work: `${dir}/work`,
    rootfs: `${dir}/rootfs`,
    files: `${dir}/files`,
    mountPoints: `${dir}/mountpoints`,
    hiddenMountPoints: `${dir}/mountpoints-front`,
    volumes: `${dir}/volumes`,
    netSnapshots: `${dir}/net-snapshots`,
    hosts: `${dir}/hosts`,
    hostname: `${dir}/hostname`,
    resolvConf: `${dir}/resolv.conf`,
    log: `${dir}/log`,
    stampedLog: `${dir}/log.d`,
    logPipe: `${dir}/log.pipe`,
    exit: `${dir}/exit`,
    health: `${dir}/health`,
    asking: `${dir}/asking`,
    oomKills: `${dir}/oom-kills`,
    runDir,
    journal: `${runDir}/journal`,
    enter: `${runDir}/enter.json`,
    oci: `${runDir}/oci`,
    nspawn: `${runDir}/nspawn`,
    stopping: `${runDir}/stopping`,
    kept: `${runDir}/kept`,
    updating: `${runDir}/updating`,
    lock: join(roots.runDir, `${LOCK_PREFIX}${name}`),
    netns: `${NETNS_DIR}/${name}`,
    utsns: `${UTSNS_DIR}/${name}`,
    mntns: `${MNTNS_DIR}/${name}`,
    // No container's name has an @.
    guestMntns: `${MNTNS_DIR}/${name}@guest`,
    pidns: `${PIDNS_DIR}/${name}`,
    ipcns: `${IPCNS_DIR}/${name}`,
    cgroupns: `${CGROUPNS_DIR}/${name}`,
    userns: `${USERNS_DIR}/${name}`,
    timens: `${TIMENS_DIR}/${name}`,
    openRoot: `${USERNS_DIR}/.${name}`,
  };
}

export function networkPaths(
  roots: Roots,
  name: string,
): { json: string; hosts: string; lock: string; journal: string } {
  return {
    json: join(roots.root, 'networks', `${name}.json`),
    hosts: join(roots.root, 'networks', `${name}.hosts`),
    lock: join(roots.runDir, '.networks'),
    journal: join(roots.runDir, `.network-${name}`),
  };
}

/** An OCI image layout, and beside it the layers as directories. */
export function imagePaths(roots: Roots): {
  dir: string;
  marker: string;
  index: string;
  blobs: string;
  layers: string;
  /** Of images that are kept as trees, too: see storage/driver.ts. */
  trees: string;
} {
  const dir = join(roots.root, 'images');
  return {
    dir,
    marker: join(dir, 'oci-layout'),
    index: join(dir, 'index.json'),
    blobs: join(dir, 'blobs', 'sha256'),
    layers: join(dir, 'layers'),
    trees: join(dir, 'trees'),
  };
}

/** A file for each cable that is being made or removed. */
export function cablesPath(roots: Roots): string {
  return join(roots.root, 'cables');
}

export function volumesDir(roots: Roots): string {
  return join(roots.root, 'volumes');
}

/** `data` has its files. */
export function volumePaths(roots: Roots, name: string): { dir: string; json: string; data: string } {
  const dir = join(volumesDir(roots), name);
  return { dir, json: join(dir, 'volume.json'), data: join(dir, 'data') };
}

/** What builds keep for the next one: steps of recipes, and the storage that buildah has of minict. */
export function buildCachePaths(roots: Roots): {
  dir: string;
  steps: string;
  buildah: string;
  buildahLock: string;
} {
  const dir = join(roots.root, 'build-cache');
  return { dir, steps: join(dir, 'steps'), buildah: join(dir, 'buildah'), buildahLock: join(dir, 'buildah.lock') };
}

/** What containers wrote until a snapshot or a clone: layers of their own, which may be several ones'. */
export function ownLayersPath(roots: Roots): string {
  return join(roots.root, 'layers');
}

/** Bottom layer of all overlays: the mount points that an image may lack. */
export function skeletonPath(roots: Roots): string {
  return join(roots.root, 'skeleton');
}
