/** Registries that need a login, and those that fail: what may pass is tried again, the rest is one clear error. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { imageNames, imageTree, storeFiles } from '../helpers/images.ts';
import { Layout } from '../helpers/oci-layout.ts';
import { hideContainersCache, startRegistry } from '../helpers/registry.ts';
import { archive } from '../helpers/tar.ts';
import { Terminal } from '../helpers/terminal.ts';

let host: Host;
let layout: Layout;
beforeAll(async () => {
  host = await Host.create();
  hideContainersCache(host);
  layout = new Layout(join(host.dir, 'layout'));
  layout.add('x', { layers: [{ tar: archive({ name: 'x', content: 'x' }) }] });
});
afterAll(() => host.destroy());

let running: ReturnType<Host['spawn']> | undefined;
afterEach(async () => {
  running?.kill();
  await running?.exited;
  running = undefined;
});

let port = 6000;
/** Where the image is; what it said is read when it is stopped. */
async function faultyRegistry(fault: string, times: number): Promise<string> {
  port += 1;
  running = host.spawn([
    process.execPath,
    resolve('test/helpers/faulty-registry.ts'),
    String(port),
    fault,
    String(times),
  ]);
  const { value } = await (running.stdout as ReadableStream<Uint8Array>).getReader().read();
  expect(new TextDecoder().decode(value)).toBe('ready\n');
  return `docker://localhost:${port}/lab:1`;
}

const FOREVER = 1000;

test.each<[string, RegExp, RegExp]>([
  ['401 manifest', /unauthorized|authentication required/i, /skopeo login localhost:\d+/],
  ['500 layer', /500 .?Internal Server Error/, /failed 3 times.*localhost:\d+/],
  ['close manifest', /EOF/, /failed 3 times.*localhost:\d+/],
  ['half layer', /EOF/, /failed 3 times.*localhost:\d+/],
])('%s: one error, and nothing is left', async (fault, cause, hint) => {
  const place = await faultyRegistry(fault, FOREVER);
  const before = storeFiles(host);
  const result = host.minict('image', 'pull', place);
  expectRefused(result, cause);
  expect(result.stderr.split('\n')[0]).toContain(`minict: cannot pull ${place}: `);
  expect(result.stderr.split('\n')[1]).toMatch(hint);
  expect(storeFiles(host)).toEqual(before);
});

test.each(['500 manifest', 'close manifest', 'half layer'])('%s, twice: the third try does it', async (fault) => {
  const place = await faultyRegistry(fault, 2);
  expect(host.minict('image', 'pull', place)).toEqual({ status: 0, stdout: 'lab:1\n', stderr: '' });
  expect(host.run(['wc', '-c', join(imageTree(host, 'lab:1'), 'big')]).stdout).toMatch(/^300000 /);
  expect(host.minict('image', 'rm', 'lab:1').status).toBe(0);
});

test('what is not there, and nobody who listens: no second try', async () => {
  const place = await faultyRegistry('500 manifest', 0);
  const start = performance.now();
  expectRefused(host.minict('image', 'pull', place.replace(':1', ':2')), /manifest unknown.*\nhint: .*list-tags/);
  expectRefused(
    host.minict('image', 'pull', 'docker://localhost:5999/x:1'),
    /connection refused\nhint: .*curl http:\/\/localhost:5999\/v2\//,
  );
  expect(performance.now() - start).toBeLessThan(5000);
  expectRefused(
    host.minict('image', 'pull', 'localhost:5000/x:1'),
    /names no transport\nhint: minict image pull docker:\/\/localhost:5000\/x:1/,
  );
  expectRefused(host.minict('image', 'pull', 'nosuch:/x', 'x'), /nosuch/);
  expectRefused(host.minict('image', 'pull', `oci:${host.dir}/nowhere:x`), /no such file/);
});

test('without skopeo: the package that brings it, and nothing is left', () => {
  const bare = join(host.dir, 'bare');
  mkdirSync(bare);
  symlinkSync(Bun.which('rm') as string, join(bare, 'rm'));
  const before = storeFiles(host);
  const result = host.run(['env', `PATH=${bare}`, MINICT, 'image', 'pull', layout.source('x'), 'x']);
  expectRefused(result, /cannot run skopeo: not found in PATH\nhint: apt-get install skopeo/);
  expect(storeFiles(host)).toEqual(before);
});

test('on a terminal it shows how far it is, without -q', async () => {
  const place = await faultyRegistry('', 0);
  const pull = async (...words: string[]) => {
    const terminal = new Terminal(host, [MINICT, 'image', 'pull', place, ...words]);
    await terminal.shows(/lab:1\r?\n/);
    expect(await terminal.status()).toBe(0);
    return terminal.all;
  };
  expect(await pull()).toMatch(/Copying blob [0-9a-f]+/);
  expect(await pull('-q')).toBe('lab:1\r\n');
  expect(host.minict('image', 'rm', 'lab:1').status).toBe(0);
});

test('a registry with a password: skopeo’s auth files are used', async () => {
  const registry = await startRegistry(host, 5100, 'secret');
  try {
    const place = `docker://${registry.address}/lab/x:1`;
    expect(host.minict('image', 'pull', layout.source('x'), 'x').status).toBe(0);
    expectRefused(host.minict('image', 'push', 'x', place), /\nhint: skopeo login localhost:5100/);
    const authfile = join(host.dir, 'auth.json');
    const auth = (password: string) =>
      writeFileSync(authfile, JSON.stringify({ auths: { [registry.address]: { auth: btoa(`lab:${password}`) } } }));
    auth('wrong');
    expectRefused(
      host.minict('image', 'push', 'x', place, '--authfile', authfile),
      /unauthorized|authentication required/,
    );
    auth('secret');
    expect(host.minict('image', 'push', 'x', place, '--authfile', authfile)).toEqual({
      status: 0,
      stdout: 'x\n',
      stderr: '',
    });
    const env = { REGISTRY_AUTH_FILE: authfile };
    expect(host.run([resolve('dist/minict'), 'image', 'pull', place, 'y'], env)).toEqual({
      status: 0,
      stdout: 'y\n',
      stderr: '',
    });
    expect(imageNames(host)).toEqual(['x', 'y']);
  } finally {
    await registry.stop();
  }
});
