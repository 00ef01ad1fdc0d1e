/** Tab: what bash is told, and a bash that asks. */
import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { Terminal } from '../helpers/terminal.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  expectCreated(host, 'web1');
  expect(host.minict('network', 'create', 'lan').status).toBe(0);
  expect(host.minict('volume', 'create', 'data').status).toBe(0);
});
afterAll(() => host.destroy());

test.each<[string[], string[]]>([
  [['cre'], ['create']],
  [['--ro'], ['--root']],
  [['nope', ''], []],
  [
    ['help', 'net'],
    ['net', 'network'],
  ],
  [['exec', ''], ['web1']],
  [['exec', '-u', '0', 'w'], ['web1']],
  [['exec', 'web1', ''], []],
  [['exec', 'web1', '-'], []],
  [['exec', '--i'], ['--interactive']],
  [['create', ''], []],
  [['create', 'new', '--network', 'l'], ['lan']],
  [['create', 'new', '--net'], ['--network']],
  [['create', 'new', 'sh', '--net'], []],
  [
    ['create', '--profile', ''],
    ['hardened', 'lab'],
  ],
  [['create', '--image', ''], ['base']],
  [
    ['create', '--nic', 'p'],
    ['p2p:', 'phys:'],
  ],
  [['network', 'con'], ['connect']],
  [
    ['network', 'connect', ''],
    ['lan', 'minict0'],
  ],
  [['network', 'connect', 'lan', ''], ['web1']],
  [['network', 'create', '--vn'], ['--vni']],
  [
    ['link', ''],
    ['down', 'ls', 'rm', 'up', 'web1:'],
  ],
  [['link', 'down', 'web1:'], ['web1:eth0']],
  [['rm', '-f', ''], ['web1']],
  [['volume', 'rm', ''], ['data']],
  [['--root', '/nowhere', 'exec', ''], []],
])('%j', (words, found) => {
  const stdout = found.map((word) => `${word}\n`).join('');
  expect(host.minict('completion', 'bash', ...words)).toEqual({ status: 0, stdout, stderr: '' });
});

test('in a bash, with a colon too', async () => {
  const terminal = new Terminal(host, ['bash', '--norc', '--noprofile']);
  try {
    terminal.type(`PATH=${dirname(MINICT)}:$PATH; source <(minict completion bash); echo rea''dy\n`);
    await terminal.shows(/ready\r\n/);
    terminal.type('minict exec w\thost\t');
    await terminal.shows(/minict exec web1 host/);
    terminal.type('name; echo do""ne\n');
    await terminal.shows(/web1\r\ndone\r\n/);
    terminal.type('minict net imp\tw\te\t; echo do""ne\n');
    await terminal.shows(/net impair web1:eth0 ; echo/);
    await terminal.shows(/eth0 [\s\S]*\ndone\r\n/);
  } finally {
    terminal.close();
  }
});

test('of another shell nothing is known', () => {
  expectRefused(
    host.minict('completion', 'tcsh'),
    /^minict: cannot complete for tcsh: not known\nhint: minict completion bash\n$/,
  );
});
