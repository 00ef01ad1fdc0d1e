/** A first root for Linux: a busybox, kernel modules, and a script that is its init. */
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/**
 * Packs it; returns the archive's path. `dir` is empty and becomes what is packed, `modules` are files in the order in which
 * they need each other. The script begins with /proc, /sys and /dev in place, the modules loaded and busybox's commands in
 * the PATH, and must not end. Throws an Error with what the packing said.
 */
export function makeInitrd(dir: string, modules: readonly string[], script: string): string {
  for (const each of ['bin', 'proc', 'sys', 'dev', 'modules']) mkdirSync(join(dir, each), { recursive: true });
  copyFileSync(Bun.which('busybox') as string, join(dir, 'bin/busybox'));
  symlinkSync('busybox', join(dir, 'bin/sh'));
  for (const module of modules) copyFileSync(module, join(dir, 'modules', basename(module)));
  const init = `#!/bin/sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in ${modules.map((module) => basename(module)).join(' ')}; do insmod /modules/$module; done
${script}
`;
  writeFileSync(join(dir, 'init'), init);
  chmodSync(join(dir, 'init'), 0o755);
  const image = `${dir}.cpio.gz`;
  const pack = 'cd "$0" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -1 >"$1"';
  const { exitCode, stderr } = Bun.spawnSync(['sh', '-c', pack, dir, image], { stdio: ['ignore', 'ignore', 'pipe'] });
  if (exitCode !== 0) throw new Error(stderr.toString());
  return image;
}
