/** A mount as a step, in the host's table or in a container's own; and what makes all that is mounted in a tree read-only. */
import { inMountinfo } from '../spec/octal.ts';
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
 * mount(8) of util-linux 2.38 makes the top one of a tree read-only; newer ones have `ro=recursive`, on Linux 5.12. This
 * works on all: a remount for each that can be reached (not where another one is over it), with the flags that it has.
 */
const REMOUNT_ALL = `
mounts=$(TOP=$0 awk "$1" /proc/self/mountinfo) || exit 1
printf "%s\\n" "$mounts" | while read -r flags point; do
  path=$(printf "$point.")
  mount -o "remount,bind,$flags,ro" none "\${path%.}" || exit 1
done`;

/** As a format of printf(1): mountinfo has octal escapes. */
const REACHABLE = `
{ parent[$1] = $2; point[$1] = $5; flags[$1] = $6 }
END {
  for (id in point)
    if ((point[id] == ENVIRON["TOP"] || beneath(id)) && !stacked(id) && !hidden(id)) {
      name = point[id]; gsub("%", "%%", name)
      print flags[id], name
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

export function planReadOnly(id: string, target: string, place: MountPlace): Step {
  const argv = ['sh', '-c', REMOUNT_ALL, inMountinfo(target), REACHABLE];
  return besideMounts(`read-only ${id}`, 'read-only, with all that is mounted in it', argv, place);
}
