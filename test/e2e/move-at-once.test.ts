/** Containers are saved and loaded while others go on: nobody takes away what is being read, and one of two has a name. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { storeFiles } from '../helpers/images.ts';

let host: Host;
const at = (name: string) => join(host.dir, name);
beforeAll(async () => {
  host = await Host.create();
});
afterEach(() => {
  const names = host.minict('ps', '-aq').stdout.split('\n').filter(Boolean);
  if (names.length > 0) host.minict('rm', '-f', ...names);
  host.minict('image', 'prune', '-a');
  host.minict('system', 'prune');
  expect([...readdirSync(join(host.root, 'layers')), ...storeFiles(host)]).toEqual([]);
  host.run(['rm', '-f', at('go'), at('f1.tar')]);
});
afterAll(() => host.destroy());

const ok = (...words: string[]) => {
  const result = host.minict(...words);
  expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
  return result.stdout;
};
const FILL = 'dd if=/dev/urandom of=/big bs=1M count=2 2>/dev/null';

/** A save whose reader takes nothing before it is let go; `f1.tar` is what it has got then. */
function slowSave() {
  const wait = `until [ -e ${at('go')} ]; do sleep 0.01; done`;
  const child = host.spawn(['sh', '-c', `"$0" save-container f1 | { ${wait}; cat >${at('f1.tar')}; }`, MINICT]);
  return { child, letGo: () => writeFileSync(at('go'), '') };
}

/** proc_locks(5): who waits stands behind an arrow. */
const waits = (pid: number) => new RegExp(`-> FLOCK .* ${pid} `).test(readFileSync('/proc/locks', 'utf8'));
const isHeld = () => host.run(['flock', '-n', '/run/minict/.lock-f1', 'true']).status !== 0;

test('a stopped container whose files are being sent is started afterwards', async () => {
  ok('create', 'f1', '--no-network');
  ok('exec', 'f1', 'sh', '-c', FILL);
  ok('stop', 'f1');
  const { child, letGo } = slowSave();
  expect(await eventually(isHeld)).toBe(true);
  const start = host.spawn([MINICT, 'start', 'f1']);
  expect(await eventually(() => waits(start.pid))).toBe(true);
  letGo();
  expect([await child.exited, await start.exited]).toEqual([0, 0]);
  ok('load-container', '-i', at('f1.tar'), '--name', 'f2', '--start');
  expect(ok('exec', 'f2', 'md5sum', '/big')).toBe(ok('exec', 'f1', 'md5sum', '/big'));
});

test.each([false, true])('who is saved may be removed meanwhile, with its image; running: %s', async (runs) => {
  ok('create', 'f1', '--no-network', '--', 'sleep', '300');
  ok('exec', 'f1', 'sh', '-c', FILL);
  ok('stop', 'f1');
  ok('snapshot', 'create', 'f1', 'a');
  if (runs) ok('start', 'f1');
  const big = () => readFileSync(join(host.root, 'layers', readdirSync(join(host.root, 'layers'))[0] as string, 'big'));
  const before = big();
  const { child, letGo } = slowSave();
  // It has its copy, or has sent what was small, and goes on with the layers.
  const isReading = () => host.run(['pgrep', '-f', `tar --create .* --directory ${host.root}/layers`]).status === 0;
  expect(await eventually(() => isReading() && !isHeld())).toBe(true);
  ok('rm', '-f', 'f1');
  ok('image', 'rm', 'base');
  ok('system', 'prune');
  letGo();
  expect(await child.exited).toBe(0);
  ok('system', 'prune');
  expect([...readdirSync(join(host.root, 'layers')), ...storeFiles(host)]).toEqual([]);
  ok('load-container', '-i', at('f1.tar'), '--start');
  expect(big().equals(before)).toBe(true);
});

test('one name for two: one has it, and the other leaves nothing', async () => {
  ok('create', 'f1', '--no-network');
  ok('exec', 'f1', 'sh', '-c', FILL);
  ok('stop', 'f1');
  ok('snapshot', 'create', 'f1', 'a');
  ok('save-container', 'f1', '-o', at('f1.tar'));
  ok('rm', 'f1');
  ok('image', 'rm', 'base');
  const children = [1, 2, 3].map(() => host.spawn([MINICT, 'load-container', '-i', at('f1.tar')]));
  expect((await Promise.all(children.map((child) => child.exited))).sort()).toEqual([0, 125, 125]);
  expect(readdirSync(join(host.root, 'layers'))).toHaveLength(1);
  const others = ['f2', 'f3', 'f4'].map((name) =>
    host.spawn([MINICT, 'load-container', '-i', at('f1.tar'), '--name', name]),
  );
  expect(await Promise.all(others.map((child) => child.exited))).toEqual([0, 0, 0]);
  expect(readdirSync(join(host.root, 'layers'))).toHaveLength(1);
  ok('start', 'f1', 'f2', 'f3', 'f4');
  const sums = ['f1', 'f2', 'f3', 'f4'].map((name) => ok('exec', name, 'md5sum', '/big'));
  expect(new Set(sums).size).toBe(1);
});

test('from one name to another on one host, in one pipe', async () => {
  ok('run', '-d', 'f1', '--', 'sleep', '300');
  ok('exec', 'f1', 'sh', '-c', FILL);
  const pipe = '"$0" save-container f1 | "$0" load-container --name f2 --ip 192.168.0.9 --start';
  expect(host.run(['sh', '-c', pipe, MINICT])).toEqual({ status: 0, stdout: 'f2\n', stderr: '' });
  expect(ok('exec', 'f2', 'md5sum', '/big')).toBe(ok('exec', 'f1', 'md5sum', '/big'));
  expect(ok('exec', 'f2', 'ping', '-c1', '-W2', 'f1')).toContain('1 packets received');
});
