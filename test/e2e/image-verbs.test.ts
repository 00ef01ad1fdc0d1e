/** Names, digests and what is shared: tag, ls, inspect, history, rm, prune, df. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { imageNames, storeFiles } from '../helpers/images.ts';
import { baseTar } from '../helpers/layer-fixtures.ts';
import { Layout } from '../helpers/oci-layout.ts';
import { hideContainersCache } from '../helpers/registry.ts';
import { archive } from '../helpers/tar.ts';

let host: Host;
let layout: Layout;
beforeAll(async () => {
  host = await Host.create();
  hideContainersCache(host);
  layout = new Layout(join(host.dir, 'layout'));
  const base = { tar: baseTar(host) };
  const version = (content: string) => ({ tar: archive({ name: 'version', content: `${content}\n` }) });
  layout.add('one', {
    layers: [base, version('one')],
    config: {
      created: '2020-01-02T03:04:05.678Z',
      history: [
        { created: '2020-01-01T00:00:00Z', created_by: 'ADD base' },
        { created: '2020-01-02T00:00:00Z', created_by: 'ENV A=1', empty_layer: true },
        { created: '2020-01-02T03:04:05Z', created_by: 'RUN a\n\u001b[31mred' },
      ],
    },
  });
  layout.add('two', { layers: [base, version('two')] });
});
beforeEach(() => {
  host.minict('image', 'rm', ...imageNames(host));
  must('image', 'prune', '-a');
  must('image', 'pull', layout.source('one'), 'web:1');
  must('image', 'pull', layout.source('two'), 'web:2');
});
afterAll(() => host.destroy());

function must(...words: string[]): string {
  const { status, stdout, stderr } = host.minict(...words);
  expect({ status, stderr }, words.join(' ')).toEqual({ status: 0, stderr: '' });
  return stdout;
}

const idOf = (ref: string): string => JSON.parse(must('image', 'inspect', ref))[0].id;
const layersThere = () => readdirSync(join(host.root, 'images/layers')).length;
const version = (container: string) => host.minict('exec', container, 'cat', '/version').stdout.trim();

test('names and digests: what can be told apart is found', () => {
  const id = idOf('web:1');
  const hex = id.slice('sha256:'.length);
  for (const ref of [id, hex, hex.slice(0, 12), `sha256:${hex.slice(0, 6)}`]) expect(idOf(ref)).toBe(id);
  must('image', 'tag', hex.slice(0, 12), 'plain');
  expect(idOf('plain:latest')).toBe(id);
  expect(idOf('plain')).toBe(id);
  for (const ref of ['nope', 'web', 'web:3', `sha256:${'0'.repeat(64)}`, 'abcdef']) {
    expect(host.minict('image', 'inspect', ref)).toMatchObject({
      status: 125,
      stdout: '[]\n',
      stderr: expect.stringMatching(/no such image/),
    });
  }
  for (const name of ['', 'a/b', 'a:b:c', 'a b', 'x:', '../x', `${'n'.repeat(200)}`]) {
    expectRefused(host.minict('image', 'tag', 'web:1', name), /not a valid name/);
  }
  // A name goes before a digest that begins so.
  const odd = hex.slice(0, 8);
  must('image', 'tag', 'web:2', odd);
  expect(idOf(odd)).toBe(idOf('web:2'));
});

test('ls, inspect and history', () => {
  const [, ...rows] = must('image', 'ls').trimEnd().split('\n');
  expect(rows).toHaveLength(2);
  expect(rows[0]).toMatch(/^web:1 +[0-9a-f]{12} +2020-01-02 03:04:05 +2 +\d[\d.]*MB$/);
  const json = JSON.parse(must('image', 'ls', '--format', 'json'));
  expect(json.map(({ name }: { name: string }) => name)).toEqual(['web:1', 'web:2']);
  must('image', 'tag', 'web:1', 'same');
  const [found] = JSON.parse(must('image', 'inspect', 'web:1'));
  expect(found).toMatchObject({ names: ['same:latest', 'web:1'], layers: 2, config: { os: 'linux' } });
  expect(found.directories).toHaveLength(2);
  const history = must('image', 'history', 'web:1').split('\n');
  expect(history.map((line) => line.slice(line.search(/\S+( \S+)*$/)))).toHaveLength(5);
  expect(history[1]).toMatch(/^2020-01-02 03:04:05 +\d+\S*B +[0-9a-f]{12} +RUN a \[31mred$/);
  expect(history[2]).toMatch(/^2020-01-02 00:00:00 +0B +ENV A=1$/);
  expect(JSON.parse(must('image', 'history', 'web:2', '--format', 'json'))).toHaveLength(2);
  expectRefused(host.minict('image', 'ls', '--format', 'xml'), /table or json/);
});

test('a name that moves on leaves its image to who uses it; prune takes it after that', () => {
  must('create', 'c', '--image', 'web:1', '--no-network');
  const id = idOf('web:1');
  must('image', 'tag', 'web:2', 'web:1');
  expect(version('c')).toBe('one');
  expect(must('image', 'ls', '-q')).toBe('web:1\nweb:2\n');
  expect(must('image', 'ls', '-a', '-q')).toContain(`${id}\n`);
  expectRefused(host.minict('image', 'rm', id), /used by c\nhint: minict rm c/);
  expect(must('image', 'prune')).toBe('');
  must('stop', 'c');
  must('start', 'c');
  expect(version('c')).toBe('one');
  must('rm', '-f', 'c');
  expect(must('image', 'prune', '--dry-run')).toBe(`${id}\n`);
  expect(must('image', 'prune')).toBe(`${id}\n`);
  expect(layersThere()).toBe(2);
});

test('rm: refused while used, by the last name alone; layers that others have stay', () => {
  must('create', 'c', '--image', 'web:1', '--no-network');
  must('image', 'tag', 'web:1', 'other');
  expectRefused(
    host.minict('image', 'rm', idOf('web:1').slice(7, 19)),
    /several names \(other, web:1\)\nhint: minict image rm other web:1/,
  );
  expect(must('image', 'rm', 'other')).toBe('other\n');
  expectRefused(host.minict('image', 'rm', 'web:1'), /used by c/);
  expect(host.minict('image', 'rm', 'nope', 'web:2', 'web:1')).toMatchObject({ status: 125, stdout: 'web:2\n' });
  expect(version('c')).toBe('one');
  expect(layersThere()).toBe(2);
  must('rm', '-f', 'c');
  must('image', 'pull', layout.source('two'), 'web:2');
  must('image', 'rm', 'web:1');
  expect(layersThere()).toBe(2);
  expect(must('run', '--rm', '--no-network', 'd', '--image', 'web:2', '--', 'cat', '/version')).toBe('two\n');
  must('image', 'rm', 'web:2');
  expect(storeFiles(host)).toEqual([]);
});

test('prune -a, and what df says', () => {
  const df = () =>
    Object.fromEntries(
      must('image', 'df')
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/\s+/) as [string, string]),
    );
  expect(df()).toMatchObject({ images: '2', unused: '0' });
  must('image', 'tag', 'web:1', 'again');
  expect(df()).toMatchObject({ images: '2', unused: '0' });
  must('create', 'c', '--image', 'web:2', '--no-network');
  expect(must('image', 'prune', '-a', '--dry-run').split('\n').sort()).toEqual(['', 'again', 'web:1']);
  expect(must('image', 'prune', '-a').split('\n').sort()).toEqual(['', 'again', 'web:1']);
  expect(imageNames(host)).toEqual(['web:2']);
  expect(version('c')).toBe('two');
  must('rm', '-f', 'c');
  must('image', 'prune', '-a');
  expect(df()).toMatchObject({ images: '0', unused: '0', blobs: expect.anything() });
  expect(storeFiles(host)).toEqual([]);
});
