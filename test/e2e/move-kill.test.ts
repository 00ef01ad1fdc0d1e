/** minict, or a tool of it, is killed or fails anywhere while it saves or loads a container: there is none, or a whole one. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHANGING_CALLS, FAILURES, KILLS, killBefore, runWithFault } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { imageTree, storeFiles } from '../helpers/images.ts';
import { programsOf } from '../helpers/processes.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';

let host: Host;
let tar: string;
const must = (...words: string[]) => {
  const result = host.minict(...words);
  expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
  return result.stdout;
};

/** A container whose image, layers and name are nowhere else. */
function make(): void {
  must('image', 'import', imageTree(host, 'base'), 'lab:1');
  must('create', 'f1', '--image', 'lab:1', '--', 'sh', '-c', 'while sleep 0.005; do echo x >>/growing; done');
  must('exec', 'f1', 'sh', '-c', 'echo one >/file');
  must('stop', 'f1');
  must('snapshot', 'create', 'f1', 'a');
  must('start', 'f1');
  must('exec', 'f1', 'sh', '-c', 'echo two >/file');
}

beforeAll(async () => {
  host = await Host.create();
  tar = join(host.dir, 'f1.tar');
  must('create', 'keep');
  make();
  must('stop', '-t', '0', 'f1');
  must('save-container', 'f1', '-o', tar);
  must('rm', 'f1');
  must('image', 'rm', 'lab:1');
});
afterAll(() => host.destroy());

/** It is there, and runs. */
function ready(): void {
  if (existsSync(join(host.root, 'containers/f1'))) must('start', 'f1');
  else make();
}

/** What is made of files; a child that goes on for a moment keeps its folder until then. */
const files = () => ({ store: storeFiles(host), layers: readdirSync(join(host.root, 'layers')) });

async function pruned(): Promise<ReturnType<typeof files>> {
  for (let tries = 0; tries < 500; tries += 1) {
    must('system', 'prune');
    if (!files().store.some((name) => name.startsWith('.new-'))) break;
    await Bun.sleep(10);
  }
  return files();
}

/** Kills at each point in turn; returns how many there were. */
async function killEverywhere(
  words: readonly string[],
  prepare: () => void,
  check: (point: string) => Promise<void>,
): Promise<number> {
  let points = 0;
  for (const call of CHANGING_CALLS) {
    for (let k = 1; ; k += 1) {
      prepare();
      const killed = killBefore(host, words, call, k);
      await check(`${call} (${k})`);
      if (!killed) break;
      points += 1;
    }
  }
  return points;
}

test('load-container', MANY_POINTS, async () => {
  const before = { host: host.snapshot(), files: files() };
  const words = ['load-container', '-i', tar];
  const check = async (point: string) => {
    const isThere = existsSync(join(host.root, 'containers/f1/container.json'));
    expect(must('ps', '-aq').split('\n').includes('f1'), point).toBe(isThere);
    const now = await pruned();
    if (!isThere) {
      expect(now, point).toEqual(before.files);
      expect(await host.settled(before.host), point).toEqual(before.host);
      expect(must(...words), point).toBe('f1\n');
    }
    expect(must('image', 'ls', '-q'), point).toBe('base\nlab:1\n');
    must('start', 'f1');
    expect(must('exec', 'f1', 'cat', '/file'), point).toBe('two\n');
    must('snapshot', 'rollback', '-t', '0', 'f1', 'a');
    expect(must('exec', 'f1', 'cat', '/file'), point).toBe('one\n');
    must('rm', '-f', 'f1');
    must('image', 'rm', 'lab:1');
    expect(await pruned(), point).toEqual(before.files);
    expect(await host.settled(before.host), point).toEqual(before.host);
  };
  expect(await killEverywhere(words, () => {}, check)).toBeGreaterThanOrEqual(20);
});

test('load-container with files of a named volume: it is whole, or unused and pruned', MANY_POINTS, async () => {
  const saved = join(host.dir, 'db1.tar');
  must('create', 'f1', '--no-network', '-v', 'data:/data', '-v', '/own');
  must('exec', 'f1', 'sh', '-c', 'echo data >/data/file; echo own >/own/file');
  must('stop', 'f1');
  must('save-container', 'f1', '--volumes', '-o', saved);
  must('rm', 'f1');
  must('volume', 'rm', 'data');
  const before = { host: host.snapshot(), files: files() };
  const words = ['load-container', '-i', saved];
  const check = async (point: string) => {
    const isThere = existsSync(join(host.root, 'containers/f1/container.json'));
    if (!isThere) {
      must('volume', 'prune');
      expect(await pruned(), point).toEqual(before.files);
      expect(await host.settled(before.host), point).toEqual(before.host);
      expect(must(...words), point).toBe('f1\n');
    }
    must('start', 'f1');
    expect(must('exec', 'f1', 'cat', '/data/file', '/own/file'), point).toBe('data\nown\n');
    must('rm', '-f', 'f1');
    must('volume', 'rm', 'data');
    expect(await pruned(), point).toEqual(before.files);
    expect(await host.settled(before.host), point).toEqual(before.host);
  };
  expect(await killEverywhere(words, () => {}, check)).toBeGreaterThanOrEqual(20);
});

test('save-container', MANY_POINTS, async () => {
  ready();
  const output = join(host.dir, 'saved.tar');
  const json = () => readFileSync(join(host.root, 'containers/f1/container.json'), 'utf8');
  const before = { files: files(), json: json(), entries: readdirSync(host.dir) };
  const [main] = programsOf(host, 'f1');
  const size = () => must('exec', 'f1', 'stat', '-c', '%s', '/growing');
  const check = async (point: string) => {
    const entries = readdirSync(host.dir).filter((name) => name !== 'saved.tar' || !isWhole(output));
    expect(entries, point).toEqual(before.entries);
    expect(await pruned(), point).toEqual(before.files);
    expect(json(), point).toBe(before.json);
    expect(programsOf(host, 'f1'), point).toContain(main);
    const was = size();
    await expect.poll(size, { interval: 10, timeout: 10_000 }).not.toBe(was);
  };
  expect(await killEverywhere(['save-container', 'f1', '-o', output], () => {}, check)).toBeGreaterThanOrEqual(10);
});

describe.each([...FAILURES, ...KILLS])('a tool %s', (fault) => {
  test('load-container', MANY_POINTS, async () => {
    ready();
    must('stop', '-t', '0', 'f1');
    const before = { host: host.snapshot(), files: files() };
    const words = ['load-container', '-i', tar, '--name', 'f2', '--ip', '192.168.0.99'];
    let points = 0;
    for (; ; points += 1) {
      const { tool, ...result } = runWithFault(host, words, fault, points + 1);
      const point = `${tool} (${points + 1}): ${result.stderr}`;
      const isThere = existsSync(join(host.root, 'containers/f2/container.json'));
      if (FAILURES.includes(fault)) expect(result.status, point).toBe(isThere ? 0 : 125);
      // By then only its own folder is left to be removed.
      expect(isThere, point).toBe(tool === undefined || tool === 'rm');
      if (isThere) {
        must('start', 'f2');
        expect(must('exec', 'f2', 'cat', '/file'), point).toBe('two\n');
        must('rm', '-f', 'f2');
        // Its image, whose name another one has.
        must('image', 'prune');
      }
      expect(await pruned(), point).toEqual(before.files);
      expect(await host.settled(before.host), point).toEqual(before.host);
      if (tool === undefined) break;
    }
    expect(points).toBeGreaterThanOrEqual(2);
  });

  test('save-container', MANY_POINTS, async () => {
    ready();
    const output = join(host.dir, 'saved.tar');
    rmSync(output, { force: true });
    const entries = () => readdirSync(host.dir).filter((name) => !/^(calls-.*|tools)$/.test(name));
    const before = { files: files(), entries: entries() };
    const size = () => must('exec', 'f1', 'stat', '-c', '%s', '/growing');
    let points = 0;
    for (; ; points += 1) {
      const { tool } = runWithFault(host, ['save-container', 'f1', '-o', output], fault, points + 1);
      const point = `${tool} (${points + 1})`;
      if (existsSync(output)) {
        expect(isWhole(output), point).toBe(true);
        rmSync(output);
      }
      expect(entries(), point).toEqual(before.entries);
      expect(await pruned(), point).toEqual(before.files);
      const was = size();
      await expect.poll(size, { interval: 10, timeout: 10_000 }).not.toBe(was);
      if (tool === undefined) break;
    }
    expect(points).toBeGreaterThanOrEqual(5);
  });
});

/** A tar with its end. */
function isWhole(path: string): boolean {
  return (
    host.run(['tar', 'tf', path]).status === 0 &&
    readFileSync(path)
      .subarray(-1024)
      .every((byte) => byte === 0)
  );
}
