/** A store that is damaged says what of it, and is mended by a pull; a disk that is full is named. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { imageNames, storeFiles } from '../helpers/images.ts';
import { baseTar } from '../helpers/layer-fixtures.ts';
import { Layout } from '../helpers/oci-layout.ts';
import { type Registry, startRegistry } from '../helpers/registry.ts';
import { archive } from '../helpers/tar.ts';

let host: Host;
let registry: Registry;
let layout: Layout;
beforeAll(async () => {
  host = await Host.create();
  registry = await startRegistry(host);
  layout = new Layout(join(host.dir, 'layout'));
  layout.add('web', {
    layers: [{ tar: baseTar(host) }, { tar: archive({ name: 'lab', content: 'lab\n' }), compression: 'gzip' }],
  });
  must('image', 'pull', layout.source('web'), 'web');
});
afterAll(async () => {
  await registry?.stop();
  await host.destroy();
});

function must(...words: string[]): string {
  const { status, stdout, stderr } = host.minict(...words);
  expect({ status, stderr }, words.join(' ')).toEqual({ status: 0, stderr: '' });
  return stdout;
}

/** Digests of what `web` is made of. */
function parts(): { manifest: string; config: string; layer: string } {
  const [{ id, manifest }] = JSON.parse(must('image', 'inspect', 'web'));
  return { manifest: id, config: manifest.config.digest, layer: manifest.layers[1].digest };
}

const blob = (digest: string) => join(host.root, 'images/blobs/sha256', digest.slice('sha256:'.length));
const runsWell = () =>
  expect(must('run', '--rm', '--no-network', 'r', '--image', 'web', '--', 'cat', '/lab')).toBe('lab\n');

const DAMAGES: [string, (path: string) => void][] = [
  [
    'changed',
    (path) => {
      const content = readFileSync(path);
      content.writeUInt8(content.readUInt8(20) ^ 1, 20);
      writeFileSync(path, content);
    },
  ],
  ['cut short', (path) => truncateSync(path, 30)],
  ['empty', (path) => truncateSync(path, 0)],
  ['gone', (path) => rmSync(path)],
];

test.each(DAMAGES)(
  'a layer’s blob that is %s: push and save name it, containers work, a pull mends it',
  (_, damage) => {
    const { layer } = parts();
    const sound = readFileSync(blob(layer));
    damage(blob(layer));
    const named = new RegExp(`blob ${layer}.*\nhint: pull or import it again`);
    expectRefused(host.minict('image', 'push', 'web', `oci:${join(host.dir, 'pushed')}:x`), named);
    expectRefused(host.minict('image', 'save', 'web', '-o', join(host.dir, 'web.tar')), named);
    expect(existsSync(join(host.dir, 'web.tar'))).toBe(false);
    runsWell();
    must('image', 'pull', layout.source('web'), 'web');
    expect(readFileSync(blob(layer))).toEqual(sound);
    must('image', 'push', 'web', `docker://${registry.address}/lab/web:2`);
  },
);

test.each(DAMAGES)('a document that is %s: create, ls and inspect name it, a pull mends it', (_, damage) => {
  for (const kind of ['manifest', 'config'] as const) {
    const digest = parts()[kind];
    damage(blob(digest));
    const named = new RegExp(`blob ${digest}.*\nhint: `);
    expectRefused(host.minict('create', 'c', '--image', 'web'), named);
    const listed = host.minict('image', 'ls', '-q');
    expect(listed).toMatchObject({ status: 125, stdout: 'base\n', stderr: expect.stringMatching(named) });
    expect(host.minict('image', 'inspect', 'web', 'base').stderr).toMatch(named);
    expectRefused(host.minict('image', 'push', 'web', `oci:${join(host.dir, 'pushed')}:x`), named);
    // Nobody can tell what it needs: nothing is taken for unused.
    const before = storeFiles(host);
    expect(host.minict('system', 'prune').stderr).toMatch(named);
    expect(storeFiles(host)).toEqual(before);
    must('image', 'pull', layout.source('web'), 'web');
    runsWell();
  }
});

test('a layer’s directory that is gone is unpacked again, of a blob that is sound', () => {
  const [{ directories }] = JSON.parse(must('image', 'inspect', 'web'));
  rmSync(directories[0], { recursive: true });
  runsWell();
  rmSync(directories[0], { recursive: true });
  const { layer } = parts();
  const sound = readFileSync(blob(layer));
  writeFileSync(blob(layer), archive({ name: 'lab', content: 'evil' }));
  expectRefused(
    host.minict('create', 'c', '--image', 'web'),
    new RegExp(`cannot unpack layer ${layer}: its content is `),
  );
  writeFileSync(blob(layer), sound);
  runsWell();
});

test('a damaged image can be removed', () => {
  must('image', 'pull', layout.source('web'), 'hurt');
  must('image', 'rm', 'web');
  const [{ id }] = JSON.parse(must('image', 'inspect', 'hurt'));
  truncateSync(blob(id), 0);
  must('image', 'rm', 'hurt');
  expect(imageNames(host)).toEqual(['base']);
  must('system', 'prune');
  must('image', 'pull', layout.source('web'), 'web');
});

test('a full disk: pull, load and create name it, and leave nothing', () => {
  const small = join(host.dir, 'small');
  mkdirSync(small);
  const archived = join(host.dir, 'big.tar');
  layout.add('big', {
    layers: [{ tar: archive({ name: 'big', content: 'x'.repeat(20 << 20) }), compression: 'gzip' }],
  });
  must('image', 'pull', layout.source('big'), 'big');
  must('image', 'save', 'big', '-o', archived);
  host.run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'small', small]);
  const there = (...words: string[]) => host.minict('--root', small, '--run-dir', '/run/small', ...words);
  const full = /^minict: cannot (pull|load) .*: no space left on the disk of .*\nhint: df -h .*\n$/;
  for (const words of [
    ['pull', layout.source('big'), 'big'],
    ['load', '-i', archived],
  ]) {
    expectRefused(there('image', ...words), full);
    const left = host.run(['find', join(small, 'images'), '-type', 'f', '-o', '-name', '.new*']).stdout;
    expect(left).toBe('');
  }
  expect(there('image', 'ls', '-q')).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(readdirSync(host.dir).filter((name) => name.startsWith('.'))).toEqual([]);
});
