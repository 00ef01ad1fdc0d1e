/** Removal of a directory tree that is minict's: never across a mount. */
import { ConflictError, HostError } from '../errors.ts';
import { mountsIn } from '../host/facts.ts';

/** Throws ConflictError while something is mounted in it, HostError. */
export function removeTree(dir: string): void {
  const mounts = mountsIn([dir]).get(dir)?.join(' ');
  if (mounts) throw new ConflictError(`cannot remove ${dir}: mounted in it: ${mounts}`, { hint: `umount ${mounts}` });
  const { exitCode, stderr } = Bun.spawnSync(['rm', '-rf', '--one-file-system', '--', dir]);
  if (exitCode !== 0) throw new HostError(`cannot remove ${dir}: ${stderr.toString().trim()}`);
}
