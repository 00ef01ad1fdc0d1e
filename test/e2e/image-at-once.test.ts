/** Pulls side by side: a layer is unpacked once, nobody waits for each other in a circle, and removals keep out of it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Host, MINICT } from '../helpers/host.ts';
import { imageNames, storeFiles } from '../helpers/images.ts';
import { baseTar } from '../helpers/layer-fixtures.ts';
import { type LayerFixture, Layout } from '../helpers/oci-layout.ts';
import { hideContainersCache } from '../helpers/registry.ts';
import { archive } from '../helpers/tar.ts';

let host: Host;
let layout: Layout;
let layers: LayerFixture[];
/** A line for each layer that is unpacked. */
let unpacked: string;
beforeAll(async () => {
  host = await Host.create();
  hideContainersCache(host);
  layout = new Layout(join(host.dir, 'layout'));
  layers = Array.from({ length: 6 }, (_, i) => ({ tar: archive({ name: `f${i}`, content: `${i}` }) }));
  const tools = join(host.dir, 'tools');
  mkdirSync(tools);
  unpacked = join(host.dir, 'unpacked');
  // It takes long enough for all to come to the same layer.
  const script = `#!/bin/sh
case " $* " in *" --extract "*) echo x >>${unpacked}; sleep 0.1 ;; esac
exec ${Bun.which('tar')} "$@"\n`;
  writeFileSync(join(tools, 'tar'), script, { mode: 0o755 });
});
afterAll(() => host.destroy());

async function atOnce(...all: (readonly string[])[]): Promise<void> {
  writeFileSync(unpacked, '');
  const path = `PATH=${join(host.dir, 'tools')}:${process.env.PATH}`;
  const children = all.map((words) => host.spawn(['env', path, MINICT, ...words]));
  const results = await Promise.all(
    children.map(async (child) => ({ status: await child.exited, stderr: await new Response(child.stderr).text() })),
  );
  for (const result of results) expect(result).toEqual({ status: 0, stderr: '' });
}

const timesUnpacked = () => readFileSync(unpacked, 'utf8').split('\n').length - 1;

test('one image, four times', async () => {
  layout.add('one', { layers });
  await atOnce(...[1, 2, 3, 4].map((i) => ['image', 'pull', layout.source('one'), `one:${i}`]));
  expect(timesUnpacked()).toBe(6);
  expect(imageNames(host)).toEqual(['one:1', 'one:2', 'one:3', 'one:4']);
  expect(host.minict('image', 'rm', ...imageNames(host)).status).toBe(0);
  expect(storeFiles(host)).toEqual([]);
});

test('images with the same layers, each in another order', async () => {
  const orders = [layers, layers.toReversed(), [...layers.slice(3), ...layers.slice(0, 3)], [...layers, ...layers]];
  orders.forEach((order, i) => void layout.add(`order${i}`, { layers: order }));
  await atOnce(...orders.map((_, i) => ['image', 'pull', layout.source(`order${i}`), `order:${i}`]));
  expect(timesUnpacked()).toBe(6);
  expect(host.minict('image', 'rm', ...imageNames(host)).status).toBe(0);
  expect(storeFiles(host)).toEqual([]);
});

test('pulls, tags, containers and removals of the same names: what is left is whole', async () => {
  layout.add('work', { layers: [{ tar: baseTar(host) }, ...layers] });
  expect(host.minict('image', 'pull', layout.source('work'), 'work').status).toBe(0);
  const script = `for i in 1 2 3 4 5; do
    case $1 in
      pull) "$0" image pull ${layout.source('work')} work >/dev/null || exit 1 ;;
      other) "$0" image pull ${layout.source('one')} other >/dev/null && "$0" image rm other >/dev/null || exit 1 ;;
      tag) "$0" image tag work work:$i >/dev/null && "$0" image rm work:$i >/dev/null || exit 1 ;;
      prune) "$0" image prune >/dev/null && "$0" system prune >/dev/null || exit 1 ;;
      create) "$0" create w --image work --no-network >/dev/null && "$0" exec w cat /f5 && "$0" rm -f w >/dev/null || exit 1 ;;
    esac
  done`;
  const children = ['pull', 'other', 'tag', 'prune', 'create'].map((kind) =>
    host.spawn(['sh', '-c', script, MINICT, kind]),
  );
  const results = await Promise.all(
    children.map(async (child) => ({
      status: await child.exited,
      stdout: await new Response(child.stdout).text(),
      stderr: await new Response(child.stderr).text(),
    })),
  );
  for (const result of results) expect(result).toMatchObject({ status: 0, stderr: '' });
  expect(results.at(-1)?.stdout).toBe('55555');
  host.minict('system', 'prune');
  expect(imageNames(host).filter((name) => name !== 'base')).toEqual(['work']);
  expect(host.run([MINICT, 'run', '--rm', '--no-network', 'last', '--image', 'work', '--', 'cat', '/f0']).stdout).toBe(
    '0',
  );
});
