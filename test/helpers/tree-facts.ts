/** All that a file system says of a tree, a line for each path, read by one that is no part of minict. */
import { join } from 'node:path';
import type { Host } from './host.ts';

/** Links of a file are those within the tree, told by the first of their names. A folder's count of links is its driver's. */
const SCRIPT = `
import hashlib, os, stat, sys
top = os.fsencode(sys.argv[1]); device = os.lstat(top).st_dev; skip = set(map(os.fsencode, sys.argv[2:])); first = {}
def walk(folder):
  for name in sorted(os.listdir(os.path.join(top, folder))):
    path = os.path.join(folder, name); full = os.path.join(top, path); s = os.lstat(full)
    if path in skip or s.st_dev != device: continue
    isdir = stat.S_ISDIR(s.st_mode)
    facts = [oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, os.major(s.st_rdev), os.minor(s.st_rdev)]
    if not isdir: facts += [s.st_nlink, first.setdefault(s.st_ino, path), s.st_size]
    if stat.S_ISLNK(s.st_mode): facts.append(os.readlink(full))
    if stat.S_ISREG(s.st_mode): facts.append(hashlib.md5(open(full, 'rb').read()).hexdigest())
    names = sorted(os.listxattr(full, follow_symlinks=False))
    facts += [(x, os.getxattr(full, x, follow_symlinks=False)) for x in names if not x.startswith('trusted.overlay.')]
    print(path, *facts)
    if isdir: walk(path)
walk(b'')
`;

/** `skip` are paths relative to the tree. */
export function treeFacts(
  host: Host,
  top: string,
  skip: readonly string[] = [],
  words: readonly string[] = [],
): string[] {
  const { status, stdout, stderr } = host.run([...words, 'python3', '-c', SCRIPT, top, ...skip]);
  if (status !== 0) throw new Error(stderr);
  return stdout.split('\n').filter(Boolean);
}

/** Where minict mounts something of its own; the rest is the image's. */
export const MOUNTED = ['proc', 'sys', 'dev', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf'];

/** A container's root file system, as the programs in it see it. */
export function containerFacts(host: Host, name: string): string[] {
  const rootfs = join(host.root, 'containers', name, 'rootfs');
  return treeFacts(host, rootfs, MOUNTED, ['nsenter', `--mount=/run/mntns/${name}`]);
}
