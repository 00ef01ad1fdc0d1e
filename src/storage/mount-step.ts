/** A mount as a step, in the host's table or in a container's own; and what makes all that is mounted in a tree read-only. */
import { join, relative } from 'node:path';
import { isMountPoint } from '../host/exec-calls.ts';
import { inMountinfo } from '../spec/octal.ts';
import { isWithin } from '../spec/root-paths.ts';
import { ISOLATION_FOLDERS, NAMESPACE_FOLDERS } from '../state/paths.ts';
import type { Command, Step } from '../step.ts';

export interface Mount {
  readonly id: string;
  readonly why: string;
  readonly source: string;
  readonly target: string;
  readonly fstype: string;
  readonly options: string;
  readonly cwd?: string;
  /** The user's own tree: what in it is covered by other mounts cannot be unmounted one by one. */
  readonly anyTree?: boolean;
}

/** Whose mounts, in which table. */
export interface MountPlace {
  readonly chain: string;
  readonly mntns: string | undefined;
}

/** A tree of the host's with all that is mounted in it; what comes later shows too, but nothing goes back. */
export const TREE = 'rbind,rslave';
/** Nothing comes later: it would be writable. */
export const READ_ONLY_TREE = 'rbind,ro,rprivate';

// Slave first: killed between rbind and rslave, an unmount would take the host's /sys with it.
const UNMOUNT = 'mount --make-rslave "$0" && umount -R "$0"';
const UNMOUNT_ANY = 'mount --make-rslave "$0" && { umount -R "$0" || umount --lazy "$0"; }';

export function mountStep({ id, why, anyTree, ...what }: Mount, { chain, mntns }: MountPlace): Step {
  const step = { id: `mount ${id}`, why, chain };
  const run: Command = { kind: 'mount', ...what };
  if (mntns !== undefined) return { ...step, run: { ...run, mntns }, endsWith: 'mntns' };
  return {
    ...step,
    run,
    undo: { kind: 'run', argv: ['sh', '-c', anyTree ? UNMOUNT_ANY : UNMOUNT, what.target] },
    claims: [{ kind: 'mount', name: what.target }],
  };
}

/** A command among the mounts, where they are. */
export function besideMounts(id: string, why: string, argv: readonly string[], place: MountPlace): Step {
  const { chain, mntns } = place;
  return { id, why, chain, run: { kind: 'run', argv, ...(mntns === undefined ? {} : { mntns }) } };
}

/**
 * For each mount of a tree that can be reached, not where another one is over it: mount(8) of util-linux 2.38 makes the top
 * one read-only; newer ones have `ro=recursive`, on Linux 5.12. A remount with the flags that it has works on all.
 */
const EACH = `
program=$1 read_only=$2
shift 2
[ $# -eq 0 ] || umount --lazy -- "$@" || exit 1
mounts=$(TOP=$0 READ_ONLY=$read_only NO_NAMESPACES=$1 awk "$program" /proc/self/mountinfo) || exit 1
printf "%s\\n" "$mounts" | while read -r flags point; do
  path=$(printf "$point.")
  path=\${path%.}
  case $flags in
    "") ;;
    nsfs) umount --lazy "$path" ;;
    *) mount -o "remount,bind,$flags,ro" none "$path" ;;
  esac || exit 1
done`;

/** Points are formats of printf(1): mountinfo has octal escapes. */
const REACHABLE = `
{
  parent[$1] = $2; point[$1] = $5; flags[$1] = $6
  for (i = 7; $i != "-"; i++);
  type[$1] = $(i + 1)
}
END {
  for (id in point)
    if ((point[id] == ENVIRON["TOP"] || beneath(id)) && !stacked(id) && !hidden(id)) {
      name = point[id]; gsub("%", "%%", name)
      if (type[id] == "nsfs" && ENVIRON["NO_NAMESPACES"]) print "nsfs", name
      else if (ENVIRON["READ_ONLY"]) print flags[id], name
    }
}
function beneath(id) { return index(point[id], ENVIRON["TOP"] "/") == 1 }
function stacked(id,   other) {
  for (other in point) if (parent[other] == id && point[other] == point[id]) return 1
  return 0
}
function hidden(id,   other) {
  if (!beneath(id)) return 0
  for (other in point)
    if (other != id && parent[other] == parent[id] && index(point[id], point[other] "/") == 1) return 1
  return hidden(parent[id])
}`;

export interface TreeMount {
  /** What it is mounted from, and where. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

/**
 * What a mounted tree of the host's needs beside the mount. A copy of a namespace's file would keep that alive, and its name
 * from being removed: they are dropped, unless it is their folder that is wanted.
 */
export function planTree(id: string, { source, target, readOnly }: TreeMount, place: MountPlace): Step[] {
  const folders = [...NAMESPACE_FOLDERS, ...ISOLATION_FOLDERS.filter(isMountPoint)].filter(
    (dir) => dir !== source && isWithin(dir, source),
  );
  if (!readOnly && folders.length === 0) return [];
  const why = [
    ...(readOnly ? ['read-only, with all that is mounted in it'] : []),
    ...(folders.length > 0 ? ['without the files of namespaces, which it would pin'] : []),
  ];
  // Under a shared /run each of their mounts is there twice: in their folder's own, and below it.
  const copies = folders.map((dir) => join(target, relative(source, dir)));
  const argv = ['sh', '-c', EACH, inMountinfo(target), REACHABLE, readOnly ? 'yes' : '', ...copies];
  return [besideMounts(`tree ${id}`, why.join('; '), argv, place)];
}
