/** Layers with all that a file system can hold, and all that a layer can do to those below it. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.ts';
import { imageTree } from './images.ts';

/** $1: a tree that programs can run in. */
const SCRIPT = `
put() { mkdir -p "$(dirname "$1")"; printf '%s\\n' "$2" >"$1"; }
pack() { layer=$1; shift; tar --format=posix --numeric-owner --sparse --xattrs --xattrs-include='*' -C "$layer" -cf "$layer.tar" "$@"; }

cp -a "$1" l1; cd l1; mkdir -p t/empty t/opaque/sub t/shut t/deep/er t/whole/sub t/becomes-file t/changed
put t/one one; ln t/one t/two; ln t/one t/deep/three; chown 12345:54321 t/one; chmod 4751 t/one
ln -s /etc/passwd t/out; ln -s ../../../x t/up; ln t/up t/up2; ln -s gone t/becomes-folder
mknod t/null c 1 3; mknod t/disk b 7 200; mkfifo t/pipe
truncate -s 5M t/hole; echo end >>t/hole; cp /bin/true t/cap; chmod 1777 t/empty
put "t/$(printf %0200d 7)/$(printf %0250d 8)" long; put "$(printf 't/bytes-\\377\\n')" bytes
for f in gone again opaque/old opaque/sub/old shut/old whole/sub/old changed/kept; do put "t/$f" old; done
chown 21:42 t/deep t/deep/er; chmod 2751 t/deep; chmod 0700 t/deep/er
python3 -c 'import os
os.setxattr("t/one", "user.note", b"kept\\0\\xff"); os.setxattr("t/deep", "user.folder", b"deep"); os.setxattr("t/one", "user.empty", b"")
os.setxattr("t/one", "trusted.lab", b"x")
os.setxattr("t/cap", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))'
find t -depth -exec touch -h -d '2001-02-03 04:05:06.123456789 UTC' {} +
cd ..; pack l1 .

mkdir l2; cd l2; put t/.wh.gone x; put t/.wh.again x; put t/opaque/.wh..wh..opq x; put t/opaque/new new; put t/.wh.becomes-file x
put t/becomes-file file; mkdir t/becomes-folder; put t/becomes-folder/in folder; chmod 0711 t; chmod 0500 t/opaque; mkdir t/changed
chmod 3775 t/changed; chown 7:8 t/changed; ln t/opaque/new t/linked
find t -depth -exec touch -h -d '2002-02-03 04:05:06.987654321 UTC' {} +
cd ..; pack l2 t

# Folders only on the way to what is in them.
mkdir l3; cd l3; put t/deep/er/new new; put t/again again; put t/.wh.whole x; put t/empty/tmp tmp; put new/folder/file file
find t new -type f -exec touch -d '2003-02-03 04:05:06.5 UTC' {} +
cd ..; pack l3 --no-recursion t/deep/er/new t/again t/.wh.whole t/empty/tmp new new/folder new/folder/file

mkdir l4; cd l4; put t/shut/.wh.old x; put t/.wh.disk x; put t/opaque/sub/new x; put t/whole/back back
find t -depth -exec touch -h -d '2004-02-03 04:05:06.25 UTC' {} +
cd ..; pack l4 t
`;

/** A layer of the files of `base`, in which programs can run. */
export function baseTar(host: Host): Buffer {
  const file = join(host.dir, 'base.tar');
  host.minict('create', 'for-base', '--no-network');
  const { status, stderr } = host.run(['tar', '-cf', file, '-C', imageTree(host, 'base'), '.']);
  if (status !== 0) throw new Error(stderr);
  host.minict('rm', 'for-base');
  return readFileSync(file);
}

/** Tars of four layers, the bottom one first; the first has the files of `base`. */
export function richLayers(host: Host): Buffer[] {
  const dir = join(host.dir, 'rich');
  mkdirSync(dir);
  host.minict('create', 'for-base', '--no-network');
  const { status, stderr } = host.run(['sh', '-ec', `cd "$0"; ${SCRIPT}`, dir, imageTree(host, 'base')]);
  if (status !== 0) throw new Error(stderr);
  host.minict('rm', 'for-base');
  return [1, 2, 3, 4].map((layer) => readFileSync(join(dir, `l${layer}.tar`)));
}
