/** All that a tree of files has, but the time of its last change, as lines that are easy to compare. */
import type { Host } from './host.ts';

const FACTS = `import os, stat, sys
top = os.fsencode(sys.argv[1])
inodes = {}
for folder, folders, files in os.walk(top):
    for name in folders + files:
        path = os.path.join(folder, name); s = os.lstat(path); shown = path[len(top):]
        first = inodes.setdefault((s.st_dev, s.st_ino), shown)
        print(repr(shown), oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink if not stat.S_ISDIR(s.st_mode) else '',
              '' if stat.S_ISDIR(s.st_mode) else s.st_size, s.st_rdev, int(s.st_mtime), '' if first == shown else first,
              os.readlink(path) if stat.S_ISLNK(s.st_mode) else '',
              open(path, 'rb').read()[-20:] if stat.S_ISREG(s.st_mode) else '',
              'sparse' if stat.S_ISREG(s.st_mode) and s.st_blocks * 512 < s.st_size else '',
              [(x, os.getxattr(path, x, follow_symlinks=False))
               for x in sorted(os.listxattr(path, follow_symlinks=False)) if x != 'security.selinux'])`;

/** `at` is a path of the throwaway host's. */
export function factsOf(host: Host, at: string): string[] {
  const { status, stdout, stderr } = host.run(['python3', '-c', FACTS, at]);
  if (status !== 0) throw new Error(stderr);
  return stdout.split('\n').filter(Boolean).sort();
}

/** A tree with one of everything, made by a shell in the current folder. */
export const EVERYTHING = `mkdir -p tree/dir tree/empty; cd tree; echo one >dir/one; ln dir/one two
ln -s /etc/passwd out; ln -s ../../../x up; ln up up2; mknod null c 1 3; mkfifo pipe
chown 12345:54321 dir/one; chmod 4751 dir/one; chmod 1777 empty; touch -d @86400 dir/one
echo long >"$(printf %0120d 7)"; truncate -s 3M hole; echo end >>hole; cp /bin/true cap; echo hidden >.hidden
echo dash >-dash; echo 'new
line' >"new
line"; echo back >'back\\\\tslash'; echo colon >a:b; printf bytes >"$(printf 'a\\377\\376')"
python3 -c 'import os
os.setxattr("two", "user.note", b"kept")
os.setxattr("cap", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
acl = "0200000001000600ffffffff02000400d204000004000400ffffffff10000400ffffffff20000000ffffffff" # u:1234:r
os.setxattr("empty", "system.posix_acl_access", bytes.fromhex(acl))'`;
