/**
 * The embedded default image `base`: the host's static busybox and a few files, made in well under a second. Recipes
 * of the kind `from: busybox` begin with the same tree.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HostError } from '../errors.ts';
import type { Roots } from '../state/paths.ts';
import type { Command, Step } from '../step.ts';
import { imageOfTree } from './compose.ts';
import { type Image, orOthers } from './store.ts';

const PT_INTERP = 3;

/** A dynamic ELF program names its loader in a PT_INTERP header (elf(5), 64 bit). */
function isStatic(path: string): boolean {
  const elf = readFileSync(path);
  const start = Number(elf.readBigUInt64LE(32));
  const size = elf.readUInt16LE(54);
  const count = elf.readUInt16LE(56);
  return Array.from({ length: count }, (_, i) => elf.readUInt32LE(start + i * size)).every(
    (type) => type !== PT_INTERP,
  );
}

/** `npm run setup` puts one beside minict where Debian's package of it cannot be installed. */
const BUSYBOXES = ['/usr/local/lib/minict/busybox', '/bin/busybox', '/usr/bin/busybox'];

/** Throws HostError where the host has no static busybox. */
export function findBusybox(): string {
  const busybox = BUSYBOXES.find((path) => existsSync(path) && isStatic(path));
  if (busybox === undefined) {
    throw new HostError('cannot make image base: no static busybox', { hint: 'apt-get install busybox-static' });
  }
  return busybox;
}

/** The image `base`, made where it is not there yet. Throws HostError where the host has no static busybox. */
export async function makeBase(roots: Roots): Promise<Image> {
  return orOthers(roots, 'base', () => imageOfTree(roots, 'base', 'make image base', async (tree) => fillBase(tree)));
}

const FOLDERS = [
  ...['bin', 'sbin', 'usr/bin', 'usr/sbin', 'etc', 'proc', 'sys', 'dev'],
  ...['run', 'var/www', 'var/log', 'srv', 'home'],
];
const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
  'etc/group': 'root:x:0:\nnogroup:x:65534:\n',
  'etc/hosts': '',
  'etc/hostname': '',
  'etc/resolv.conf': '',
  'var/www/index.html': 'minict\n',
};

/** Makes the tree of `base` in an empty folder. Throws HostError where the host has no static busybox. */
export function fillBase(rootfs: string): void {
  const busybox = findBusybox();
  for (const dir of FOLDERS) mkdirSync(join(rootfs, dir), { recursive: true, mode: 0o755 });
  mkdirSync(join(rootfs, 'root'), { mode: 0o700 });
  mkdirSync(join(rootfs, 'tmp'));
  chmodSync(join(rootfs, 'tmp'), 0o1777);
  copyFileSync(busybox, join(rootfs, 'bin/busybox'));
  chmodSync(join(rootfs, 'bin/busybox'), 0o755);
  for (const applet of Bun.spawnSync([busybox, '--list-full']).stdout.toString().split('\n')) {
    const link = join(rootfs, applet);
    if (applet === '' || existsSync(link)) continue;
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync('/bin/busybox', link);
  }
  for (const [path, content] of Object.entries(FILES)) writeFileSync(join(rootfs, path), content, { mode: 0o644 });
}

const LINK_APPLETS = `
"$0" --list-full | while read -r applet; do
  mkdir -p "$1/$(dirname "$applet")"
  [ -e "$1/$applet" ] || ln -s /bin/busybox "$1/$applet"
done
`;

/** The same tree as steps, for a script: in the shell it takes a process for each of busybox's names. */
export function planBase(rootfs: string): Step[] {
  const busybox = findBusybox();
  const at = (path: string) => join(rootfs, path);
  const step = (what: string, why: string, run: Command): Step => ({ id: `base ${what}`, why, run });
  return [
    ...FOLDERS.map((dir) => step(dir, 'image base', { kind: 'mkdir', path: at(dir), mode: 0o755, parents: true })),
    step('root', 'image base', { kind: 'mkdir', path: at('root'), mode: 0o700 }),
    step('tmp', 'image base', { kind: 'mkdir', path: at('tmp'), mode: 0o1777 }),
    step('busybox', "the host's static busybox", {
      kind: 'run',
      argv: ['install', '-m', '755', busybox, at('bin/busybox')],
    }),
    step('links', 'the names that busybox has', { kind: 'run', argv: ['sh', '-c', LINK_APPLETS, busybox, rootfs] }),
    ...Object.entries(FILES).map(([path, content]) =>
      step(path, 'image base', { kind: 'write', path: at(path), content }),
    ),
  ];
}
