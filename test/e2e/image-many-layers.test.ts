/** Images of 1 to 120 layers mount and run, wherever the state folder is. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Host } from '../helpers/host.ts';
import { baseTar } from '../helpers/layer-fixtures.ts';
import { Layout } from '../helpers/oci-layout.ts';
import { hideContainersCache } from '../helpers/registry.ts';
import { archive } from '../helpers/tar.ts';

const COUNTS = [1, 10, 50, 120];

let host: Host;
let layout: Layout;
beforeAll(async () => {
  host = await Host.create();
  hideContainersCache(host);
  layout = new Layout(join(host.dir, 'layout'));
  const base = baseTar(host);
  // Each takes away what the one below brought, and names a folder that all have.
  const layers = Array.from({ length: 119 }, (_, i) => ({
    tar: archive(
      { name: 'lab/', flag: '5' },
      { name: `lab/file-${i}`, content: `${i}` },
      { name: `lab/.wh.file-${i - 1}` },
    ),
  }));
  for (const count of COUNTS) layout.add(`${count}`, { layers: [{ tar: base }, ...layers.slice(0, count - 1)] });
});
afterAll(() => host.destroy());

function expectWorks(options: readonly string[], count: number, mounts: string): void {
  const minict = (...words: string[]) => host.minict(...options, ...words);
  const name = `c${count}-${mounts}`;
  expect(minict('image', 'pull', layout.source(`${count}`), `of:${count}`).stderr).toBe('');
  expect(minict('create', name, '--no-network', '--mounts', mounts, '--image', `of:${count}`).stderr).toBe('');
  const top = count === 1 ? '' : `file-${count - 2}\n`;
  expect(
    minict('exec', name, 'sh', '-c', 'mkdir -p /lab; ls /lab; echo new >/lab/new; rm -f /lab/f*; ls /lab'),
  ).toEqual({
    status: 0,
    stdout: `${top}new\n`,
    stderr: '',
  });
  expect(minict('stop', name)).toMatchObject({ status: 0, stderr: '' });
  expect(minict('start', name)).toMatchObject({ status: 0, stderr: '' });
  expect(minict('exec', name, 'cat', '/lab/new').stdout).toBe('new\n');
  expect(minict('rm', name)).toMatchObject({ status: 0, stderr: '' });
}

test.each(COUNTS)('%i layers', (count) => {
  expectWorks([], count, 'private');
  expectWorks([], count, 'host');
});

test('120 layers in a state folder with a path of 1,000 bytes', () => {
  const root = join(host.dir, ...Array.from({ length: 5 }, () => 'r'.repeat(199)));
  mkdirSync(root, { recursive: true, mode: 0o700 });
  expectWorks(['--root', root, '--run-dir', '/run/long'], 120, 'private');
  expectWorks(['--root', root, '--run-dir', '/run/long'], 120, 'host');
  expect(host.minict('--root', root, '--run-dir', '/run/long', 'system', 'prune').status).toBe(0);
});
