/** Layers that are odd, and have to work: what one layer does to those below it never leaves the image. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Host } from '../helpers/host.ts';
import { baseTar } from '../helpers/layer-fixtures.ts';
import { type LayerFixture, Layout } from '../helpers/oci-layout.ts';
import { hideContainersCache } from '../helpers/registry.ts';
import { archive, pax } from '../helpers/tar.ts';

let host: Host;
let outside: string;
let base: Buffer;
beforeAll(async () => {
  host = await Host.create();
  hideContainersCache(host);
  outside = join(host.dir, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'victim'), 'safe');
  base = baseTar(host);
});
afterAll(() => host.destroy());

let images = 0;
/** A container of an image with these layers above `base`. */
function containerOf(...layers: LayerFixture[]): (...words: string[]) => string {
  images += 1;
  const name = `odd${images}`;
  const layout = new Layout(join(host.dir, name));
  layout.add('x', { layers: [{ tar: base }, ...layers] });
  expect(host.minict('image', 'pull', layout.source('x'), name)).toEqual({
    status: 0,
    stdout: `${name}\n`,
    stderr: '',
  });
  expect(host.minict('create', name, '--image', name, '--no-network')).toMatchObject({ status: 0, stderr: '' });
  return (...words) => host.minict('exec', name, ...words).stdout;
}

const layer = (...members: Parameters<typeof archive>): LayerFixture => ({ tar: archive(...members) });

test("a lower layer's symlink to the host is a symlink no more where an upper layer writes through it", () => {
  const exec = containerOf(
    layer({ name: 'd', flag: '2', target: outside }, { name: 'e', flag: '2', target: outside }),
    layer({ name: 'd/evil', content: 'x' }, { name: 'e/.wh.victim' }),
  );
  expect(readdirSync(outside)).toEqual(['victim']);
  expect(exec('ls', '-A', '/d')).toBe('evil\n');
  expect(exec('ls', '-A', '/e')).toBe('');
});

test('the same layer twice, and layers with nothing in them', () => {
  const twice = layer({ name: 'a', content: 'a' }, { name: 'dir/b', content: 'b' });
  const empty = { tar: Buffer.alloc(1024) };
  const exec = containerOf(twice, empty, layer({ name: '.wh.a' }, { name: 'dir/.wh.b' }), twice, empty, twice);
  expect(exec('cat', '/a', '/dir/b')).toBe('ab');
});

test('10,000 entries in one directory; a path of 3,000 bytes; a layer that does not say where it ends', () => {
  const deep = `${'d'.repeat(200)}/`.repeat(15);
  const many = Array.from({ length: 10_000 }, (_, i) => ({ name: `many/${i}` }));
  const endless = archive({ name: 'z', content: 'z' }).subarray(0, 1024);
  const exec = containerOf(layer(...many), layer(pax('path', `${deep}file`), { name: 'x', content: 'deep' }), {
    tar: endless,
  });
  expect(exec('sh', '-c', 'ls /many | wc -l')).toBe('10000\n');
  expect(exec('sh', '-c', `find /${'d'.repeat(200)} -type f -exec cat {} +`)).toBe('deep');
  expect(exec('cat', '/z')).toBe('z');
});

test("zstd, and docker's own names of what a layer is", () => {
  const docker = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
  const exec = containerOf(
    { ...layer({ name: 'z', content: 'zstd' }), compression: 'zstd' },
    { ...layer({ name: 'g', content: 'gzip' }), compression: 'gzip' },
  );
  expect(exec('cat', '/z', '/g')).toBe('zstdgzip');
  const layout = new Layout(join(host.dir, 'docker'));
  layout.add('x', { layers: [{ ...layer({ name: 'k', content: 'k' }), compression: 'gzip', mediaType: docker }] });
  const { status, stderr } = host.minict('image', 'pull', layout.source('x'), 'docker');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

test('an index of several platforms gives the one of this machine', () => {
  const layout = new Layout(join(host.dir, 'index'));
  const platform = { os: 'linux', architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch as 'x64' | 'arm64'] };
  layout.add('x', { layers: [layer({ name: 'p', content: 'p' })], platform });
  expect(host.minict('image', 'pull', layout.source('x'), 'indexed')).toMatchObject({ status: 0, stderr: '' });
});

test("overlayfs's own marks in a layer are not taken for its", () => {
  const marks = (name: string, value: string) => pax(`SCHILY.xattr.trusted.overlay.${name}`, value);
  const exec = containerOf(
    layer(
      { name: 'o/', flag: '5' },
      { name: 'o/below', content: 'below' },
      { name: 'secret/', flag: '5' },
      { name: 'secret/s' },
    ),
    layer(marks('opaque', 'y'), { name: 'o/', flag: '5' }, { name: 'o/above', content: 'above' }),
    layer(marks('redirect', '/secret'), { name: 'r/', flag: '5' }, marks('metacopy', ''), { name: 'm', content: 'm' }),
  );
  expect(exec('cat', '/o/below', '/o/above')).toBe('belowabove');
  expect(exec('ls', '-A', '/r')).toBe('');
  const list = `import os, sys
for top, folders, files in os.walk(sys.argv[1]):
  for name in folders + files: print(name, os.listxattr(os.path.join(top, name), follow_symlinks=False))`;
  const xattrs = host.run(['python3', '-c', list, join(host.root, 'images/layers')]).stdout;
  expect(xattrs).toContain('m []\n');
  expect(xattrs).not.toMatch(/trusted\.overlay/);
});

test('folders that are opaque: what minict mounts has its places in front of them', () => {
  const exec = containerOf(
    layer({ name: 'etc/.wh..wh..opq' }, { name: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\n' }),
  );
  expect(exec('ls', '/etc')).toBe('hostname\nhosts\npasswd\nresolv.conf\n');
  expect(exec('sh', '-c', 'cat /etc/hosts 2>&1')).toContain('localhost');
  expect(existsSync(join(host.root, 'containers', `odd${images}`, 'upper/etc'))).toBe(false);
});
