/**
 * A virtual machine under qemu, without hardware help: Debian's cloud kernel, and a busybox whose init sets an address and does
 * one command. What it says is on its console, in a file.
 */
import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.ts';
import { makeInitrd } from './initrd.ts';

/** As bin/prepare.sh puts them. */
const PARTS = '/usr/local/lib/minict/guest';

/** In the order in which they need each other. */
const MODULES = [
  ...['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci'],
  ...['failover', 'net_failover', 'virtio_net'],
];

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
  const modules = MODULES.map((module) => join(PARTS, `${module}.ko`));
  const initrd = makeInitrd(mkdtempSync(join(host.dir, 'guest-')), modules, `${script}\npoweroff -f`);
  const boot = ['-kernel', join(PARTS, 'vmlinuz'), '-initrd', initrd];
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
