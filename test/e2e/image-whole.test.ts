/** Nothing is lost: what a registry gives is what a container sees, and what goes back; umoci makes the same of it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Host } from '../helpers/host.ts';
import { storeFiles } from '../helpers/images.ts';
import { richLayers } from '../helpers/layer-fixtures.ts';
import { Layout } from '../helpers/oci-layout.ts';
import { type Registry, startRegistry } from '../helpers/registry.ts';
import { containerFacts, MOUNTED, treeFacts } from '../helpers/tree-facts.ts';

let host: Host;
let registry: Registry;
let layout: Layout;
beforeAll(async () => {
  host = await Host.create();
  registry = await startRegistry(host);
  layout = new Layout(join(host.dir, 'layout'));
  const [first = Buffer.alloc(0), ...layers] = richLayers(host);
  layout.add('rich', {
    layers: [{ tar: first, compression: 'gzip' }, ...layers.map((tar) => ({ tar }))],
    settings: { Env: ['LAB=rich'], Cmd: ['cat', '/t/again'] },
  });
});
afterAll(async () => {
  await registry?.stop();
  await host.destroy();
});

function minict(...words: string[]): string {
  const { status, stdout, stderr } = host.minict(...words);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

/** The tree that umoci makes of an image of a layout. */
function umociFacts(image: string, bundle: string): string[] {
  const dir = join(host.dir, bundle);
  expect(host.run(['umoci', 'unpack', '--image', image, dir])).toMatchObject({ status: 0 });
  return treeFacts(host, join(dir, 'rootfs'), MOUNTED);
}

/** Go's reader of tars, which umoci has, takes an empty xattr for none. */
function asGoReads(facts: readonly string[]): string[] {
  return facts.map((line) => line.replace(" ('user.empty', b'')", ''));
}

/** What a file of 5 MB, nearly all of it a hole, takes of the disk. */
function holeBytes(container: string): number {
  const stat = ['nsenter', `--mount=/run/mntns/${container}`, 'stat', '-c', '%b'];
  return 512 * Number(host.run([...stat, join(host.root, 'containers', container, 'rootfs/t/hole')]).stdout);
}

/** Takes away all that a registry has to bring again. */
function forget(container: string, ...images: string[]): void {
  minict('rm', '-f', container);
  minict('image', 'rm', ...images);
  // What is left is the default image's.
  expect(storeFiles(host).filter((path) => path.startsWith('layers/'))).toHaveLength(1);
}

test('a container sees what umoci unpacks, and so it does after a push and a pull', () => {
  minict('image', 'pull', layout.source('rich'), 'rich:1');
  const store = join(host.root, 'images');
  expect(host.run(['skopeo', 'inspect', `oci:${store}:rich:1`])).toMatchObject({ status: 0, stderr: '' });
  minict('create', 'c1', '--image', 'rich:1');
  const facts = containerFacts(host, 'c1');
  expect(asGoReads(facts)).toEqual(umociFacts(`${store}:rich:1`, 'first'));
  expect(facts.filter((line) => line.includes("('user.empty', b'')"))).toHaveLength(3);
  expect(holeBytes('c1')).toBeLessThan(64 << 10);

  minict('image', 'push', 'rich:1', `docker://${registry.address}/lab/rich:1`);
  forget('c1', 'rich:1');
  expect(minict('image', 'pull', `docker://${registry.address}/lab/rich:1`)).toBe('rich:1\n');
  expect(minict('run', 'c2', '--image', 'rich:1')).toBe('again\n');
  expect(containerFacts(host, 'c2')).toEqual(facts);
  expect(holeBytes('c2')).toBeLessThan(64 << 10);
  minict('rm', '-f', 'c2');
});

test('what a container changed goes the same way: several files gone, folders replaced, names of any bytes', () => {
  minict('create', 'c3', '--image', 'rich:1');
  const script = `rm /t/one /t/two /t/up /t/up2 /t/pipe; rm -r /t/deep /new; mkdir /t/deep; echo new >/t/deep/new
    mv /t/cap /t/moved; rm -r "/t/$(printf %0200d 7)"; touch "/t/$(printf 'line\\nend')"; rm "/t/$(printf 'bytes-\\377\\n')"
    rm /t/null; ln /t/again /t/linked-again; chmod 0123 /t/changed; touch -d @1 /t/empty; mknod /t/new-null c 1 3`;
  minict('exec', 'c3', 'sh', '-ec', script);
  const facts = containerFacts(host, 'c3');
  minict('commit', 'c3', 'changed:1');
  minict('image', 'push', 'changed:1', `docker://${registry.address}/lab/changed:1`);
  const copied = join(host.dir, 'copied');
  const copy = ['skopeo', 'copy', '--src-tls-verify=false', `docker://${registry.address}/lab/changed:1`];
  expect(host.run([...copy, `oci:${copied}:x`])).toMatchObject({ status: 0 });
  expect(asGoReads(facts)).toEqual(umociFacts(`${copied}:x`, 'second'));
  forget('c3', 'changed:1', 'rich:1');
  minict('image', 'pull', `docker://${registry.address}/lab/changed:1`);
  minict('create', 'c4', '--image', 'changed:1');
  expect(containerFacts(host, 'c4')).toEqual(facts);
  expect(readdirSync(join(host.root, 'images')).filter((name) => name.startsWith('.'))).toEqual([]);
});
