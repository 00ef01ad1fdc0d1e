/** What help shows: each example is run, in an order in which one has what it needs from those before. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { Terminal } from '../helpers/terminal.ts';

let host: Host;
let folder: string;
beforeAll(async () => {
  host = await Host.create();
  folder = mkdtempSync(join(tmpdir(), 'minict-help-'));
  mkdirSync(join(folder, 'site'));
});
afterAll(async () => {
  await host.destroy();
  rmSync(folder, { recursive: true });
});

/** By bash, with the minict that is tested; what reads from a pipe is left out. */
const line = (example: string) => [
  'bash',
  '-c',
  `cd ${folder}; PATH=${dirname(MINICT)}:$PATH; ${example.split(' | ')[0]}`,
];

const done = ['network create', 'create', 'run', 'exec', 'network connect', 'link', 'net impair', 'cp', 'capture'];
const more = ['inspect', 'ps', 'events', 'logs', 'why', 'update', 'snapshot', 'clone', 'commit', 'completion'];
const order = [...done, ...more];

/** Those that cannot be done without. */
const before: Record<string, () => void> = {
  link: () => expectCreated(host, 'r3'),
  capture: () => expect(host.minict('exec', '-d', 'web1', 'ping', '10.1.0.1').status).toBe(0),
};

const isListening = () => host.run(['ss', '-N', 'web4', '-Hltn', 'sport', '=', '80']).stdout !== '';

test.each(order)('the examples of help %s work', async (path) => {
  const help = host.minict('help', ...path.split(' '));
  expect(help.status).toBe(0);
  const shown = help.stdout.split('\nExamples:\n')[1]?.trimEnd().split('\n') ?? [];
  expect(shown).not.toEqual([]);
  before[path]?.();
  for (const example of shown) {
    if (example.includes(' -it ')) {
      const terminal = new Terminal(host, line(example));
      terminal.type('exit 7\n');
      expect({ example, status: await terminal.status() }).toEqual({ example, status: 7 });
      terminal.close();
    } else {
      if (path === 'why') expect(await eventually(isListening)).toBe(true);
      const status = example.includes('tcp/81') ? 1 : 0;
      expect({ example, ...host.run(line(example)) }).toMatchObject({ example, status });
    }
  }
});

test('options have headings, in help of create and of minict itself; a list has no default', () => {
  const create = host.minict('create', '--help').stdout;
  expect(create).toMatch(/\n\nLimits:\n {2}-m, --memory [\s\S]*\n\nIsolation:\n {2}--runtime /);
  expect(create).not.toContain('default: none');
  expect(host.minict('--help').stdout).toMatch(/\n\nNetworks:\n {2}network [\s\S]*\n\nFiles and images:\n {2}cp /);
});
