/** Steps that mount what `-v` and `--tmpfs` name: volumes, the host's files, and a tmpfs. */
import { dirname, join } from 'node:path';
import { mountIdmapped } from '../host/user-namespace.ts';
import type { UserNamespace } from '../spec/userns.ts';
import type { Step } from '../step.ts';
import type { MissingMountPoint, PlacedVolume, RootfsFacts } from './mount-points.ts';
import { besideMounts, type MountPlace, mountStep, planTree, READ_ONLY_TREE, TREE } from './mount-step.ts';

const WHY = { bind: "the host's own, as -v says", volume: 'a volume', tmpfs: 'files in memory' } as const;

/** A mount point in a tmpfs can only be made once that is mounted: mount(8) makes folders. */
const MAKE_FOLDER = 'X-mount.mkdir=0755';
const MAKE_FILE = 'mkdir -p "$0" && : >>"$1"';

function missingInTmpfs({ missing }: RootfsFacts, target: string): MissingMountPoint | undefined {
  return missing.find((point) => point.target === target && point.volume === undefined);
}

/** The file that a mount at `target`, inside the root, needs in a tmpfs. */
export function planFileInTmpfs(facts: RootfsFacts, rootfs: string, target: string, place: MountPlace): Step[] {
  const point = missingInTmpfs(facts, target);
  if (point === undefined || point.isFolder) return [];
  const path = join(rootfs, target);
  const argv = ['sh', '-c', MAKE_FILE, dirname(path), path];
  return [besideMounts(`mount point ${target}`, 'a mount point in the tmpfs', argv, place)];
}

/** The working directory, where that is to be in a tmpfs. */
export function planFolderInTmpfs({ missing, volumes }: RootfsFacts, rootfs: string, place: MountPlace): Step[] {
  return missing
    .filter(({ target, isFolder, volume }) => {
      return isFolder && volume === undefined && !volumes.some((other) => other.target === target);
    })
    .map(({ target }) => {
      const why = 'the working directory, in the tmpfs';
      return besideMounts(`folder ${target}`, why, ['mkdir', '-p', '--', join(rootfs, target)], place);
    });
}

function optionsOf({ volume, isFolder, mode }: PlacedVolume): string {
  if (volume.type === 'tmpfs') {
    // As runc has it: the mode of the directory that it is mounted over.
    const own = mode === undefined || /(^|,)mode=/.test(volume.options) ? '' : `,mode=${mode.toString(8)}`;
    return `${volume.options}${own}`;
  }
  if (!isFolder) return volume.readOnly ? 'bind,ro' : 'bind';
  // Nothing is mounted in minict's own volumes.
  if (volume.type === 'volume') return volume.readOnly ? 'bind,ro,private' : 'bind,slave';
  return volume.readOnly ? READ_ONLY_TREE : TREE;
}

/** Root inside owns a tmpfs, as elsewhere; what is asked for by number is inside, too. */
function idsInside(options: string, { hostId }: UserNamespace): string {
  const ids = { uid: 0, gid: 0 };
  const others = options.split(',').filter((option) => {
    const [, key, id] = /^(uid|gid)=(\d+)$/.exec(option) ?? [];
    if (key !== undefined) ids[key as keyof typeof ids] = Number(id);
    return key === undefined && option !== '';
  });
  return [...others, `uid=${hostId + ids.uid}`, `gid=${hostId + ids.gid}`].join(',');
}

/** The host's own files are idmapped one by one, minict's are with the state folder. */
function planIdmapped(
  placed: PlacedVolume,
  facts: RootfsFacts,
  rootfs: string,
  userns: UserNamespace,
  place: MountPlace,
): Step[] {
  const { volume, isFolder, source = '', target } = placed;
  const at = join(rootfs, target);
  const point = missingInTmpfs(facts, target);
  const how = { recursive: isFolder, readOnly: volume.type !== 'tmpfs' && volume.readOnly === true };
  const made = point?.isFolder
    ? [besideMounts(`folder ${target}`, 'a mount point in the tmpfs', ['mkdir', '-p', '--', at], place)]
    : [];
  return [
    ...made,
    besideMounts(`mount ${volume.target}`, WHY.bind, mountIdmapped(userns.file, source, at, how), place),
  ];
}

export function planVolumeMount(
  placed: PlacedVolume,
  facts: RootfsFacts,
  rootfs: string,
  place: MountPlace,
  userns: UserNamespace | undefined,
): Step[] {
  const { volume, isFolder, source = 'tmpfs', target } = placed;
  const point = missingInTmpfs(facts, target);
  const given = optionsOf(placed);
  const options = userns !== undefined && volume.type === 'tmpfs' ? idsInside(given, userns) : given;
  const step = mountStep(
    {
      id: volume.target,
      why: WHY[volume.type],
      source,
      target: join(rootfs, target),
      fstype: volume.type === 'tmpfs' ? 'tmpfs' : 'none',
      anyTree: volume.type === 'bind' && isFolder,
      options: point?.isFolder ? `${options},${MAKE_FOLDER}` : options,
    },
    place,
  );
  const isTree = volume.type === 'bind' && isFolder;
  const tree = { source, target: join(rootfs, target), readOnly: volume.type !== 'tmpfs' && volume.readOnly === true };
  return [
    ...planFileInTmpfs(facts, rootfs, target, place),
    ...(userns !== undefined && volume.type === 'bind' ? planIdmapped(placed, facts, rootfs, userns, place) : [step]),
    ...(isTree ? planTree(volume.target, tree, place) : []),
  ];
}
