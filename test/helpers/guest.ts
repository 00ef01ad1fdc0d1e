/**
 * A virtual machine under qemu, without hardware help: Debian's cloud kernel, and a busybox whose init sets an address and does
 * one command. What it says is on its console, in a file.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.ts';

/** As bin/prepare.sh puts them. */
const PARTS = '/usr/local/lib/minict/guest';

/** In the order in which they need each other. */
const MODULES = [
  ...['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci'],
  ...['failover', 'net_failover', 'virtio_net'],
];

function initrd(host: Host, script: string): string {
  const root = join(host.dir, 'guest');
  for (const dir of ['bin', 'proc', 'sys', 'dev', 'modules']) mkdirSync(join(root, dir), { recursive: true });
  copyFileSync(Bun.which('busybox') as string, join(root, 'bin/busybox'));
  symlinkSync('busybox', join(root, 'bin/sh'));
  for (const module of MODULES) copyFileSync(join(PARTS, `${module}.ko`), join(root, 'modules', `${module}.ko`));
  const init = `#!/bin/sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in ${MODULES.join(' ')}; do insmod /modules/$module.ko; done
${script}
poweroff -f
`;
  writeFileSync(join(root, 'init'), init);
  chmodSync(join(root, 'init'), 0o755);
  const image = join(host.dir, 'guest.cpio.gz');
  const pack = host.run([
    'sh',
    '-c',
    'cd "$0" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -1 >"$1"',
    root,
    image,
  ]);
  if (pack.status !== 0) throw new Error(pack.stderr);
  return image;
}

/** Runs it to its end; returns what it said. `network` are words of qemu's. */
export async function runGuest(host: Host, network: readonly string[], script: string): Promise<string> {
  const console = join(host.dir, 'guest.console');
  const machine = [
    '-M',
    'pc',
    '-accel',
    'tcg',
    '-cpu',
    'max',
    '-m',
    '128',
    '-nodefaults',
    '-display',
    'none',
    '-no-reboot',
  ];
  const boot = ['-kernel', join(PARTS, 'vmlinuz'), '-initrd', initrd(host, script)];
  const words = [
    ...machine,
    '-serial',
    `file:${console}`,
    ...boot,
    '-append',
    'console=ttyS0 quiet panic=-1',
    ...network,
  ];
  const guest = host.spawn(['qemu-system-x86_64', ...words]);
  if ((await guest.exited) !== 0) throw new Error(await new Response(guest.stderr as ReadableStream).text());
  return readFileSync(console, 'utf8');
}
