/** Who runs in a container is held still while its files are read, and goes on whatever becomes of minict. */
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, Host, MINICT } from '../helpers/host.ts';

let host: Host;
let tools: string;
const at = (name: string) => join(host.dir, name);
beforeAll(async () => {
  host = await Host.create();
  tools = at('tools');
  mkdirSync(tools);
  for (const tool of ['tar', 'cp']) {
    const wait = `: >${at('reached')}; until [ -e ${at('go')} ]; do sleep 0.01; done`;
    writeFileSync(join(tools, tool), `#!/bin/sh\n${wait}\nexec ${Bun.which(tool)} "$@"\n`, { mode: 0o755 });
  }
  const loop = 'while sleep 0.005; do echo x >>/growing; done';
  expect(host.minict('run', '-d', 'f1', '--', 'sh', '-c', loop)).toMatchObject({ status: 0, stderr: '' });
});
afterAll(() => host.destroy());

const size = () => statSync(join(host.root, 'containers/f1/upper/growing'), { throwIfNoEntry: false })?.size ?? 0;
const grows = () => {
  const before = size();
  return eventually(() => size() > before);
};

/** The verb, as a terminal runs it: a process group of its own. Returns when its files are being read. */
async function reading(words: readonly string[]) {
  for (const name of ['reached', 'go']) rmSync(at(name), { force: true });
  expect(await grows()).toBe(true);
  const child = host.spawn(['env', `PATH=${tools}:${process.env.PATH}`, 'setsid', MINICT, ...words]);
  expect(await eventually(() => existsSync(at('reached')))).toBe(true);
  const held = size();
  await Bun.sleep(100);
  expect(size()).toBe(held);
  return child;
}

const VERBS = [
  ['commit', 'f1', 'lab:1'],
  ['snapshot', 'create', 'f1', 'a'],
  ['save-container', 'f1', '-o', '/dev/null'],
];

test.each(VERBS)('%s: interrupted at its terminal, or killed', async (...words) => {
  for (const kill of [
    (pid: number) => process.kill(-pid, 'SIGINT'),
    (pid: number) => process.kill(-pid, 'SIGHUP'),
    (pid: number) => process.kill(pid, 'SIGKILL'),
  ]) {
    const child = await reading(words);
    kill(child.pid);
    expect(await child.exited).not.toBe(0);
    expect(await grows()).toBe(true);
    // Who works for it may hold its locks until its end.
    writeFileSync(at('go'), '');
    expect(await eventually(() => host.run(['pgrep', '-f', `${tools}/`]).status !== 0)).toBe(true);
  }
});

test.each(VERBS)('%s: held until it is through', async (...words) => {
  const child = await reading(words);
  writeFileSync(at('go'), '');
  expect(await child.exited).toBe(0);
  expect(await grows()).toBe(true);
});
