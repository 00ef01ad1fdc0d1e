/** Trees of files as a test compares them. */
import type { Host } from './host.ts';

/** Kind, mode, owner, links, size, time and target of everything below `dir`, with extended attributes and contents. */
export function treeOf(host: Host, dir: string): string {
  const script = `
import hashlib, os, stat, sys
top = sys.argv[1]
for path, folders, files in sorted(os.walk(top)):
    for name in sorted([*folders, *files]) + (['.'] if path == top else []):
        file = os.path.join(path, name)
        s = os.lstat(file)
        xattrs = {key: os.getxattr(file, key, follow_symlinks=False) for key in os.listxattr(file, follow_symlinks=False)}
        what = os.readlink(file) if stat.S_ISLNK(s.st_mode) else ''
        if stat.S_ISREG(s.st_mode): what = hashlib.sha256(open(file, 'rb').read()).hexdigest()
        links = 0 if stat.S_ISDIR(s.st_mode) else s.st_nlink
        device = s.st_rdev if stat.S_ISCHR(s.st_mode) else 0
        print(os.path.relpath(file, top), oct(s.st_mode), s.st_uid, s.st_gid, links, device, s.st_mtime_ns, xattrs, what)
`;
  const { stdout, stderr } = host.run(['python3', '-c', script, dir]);
  if (stderr !== '') throw new Error(stderr);
  return stdout;
}
